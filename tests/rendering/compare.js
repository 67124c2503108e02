// Compares what the page draws while a text arrives with the server's HTML. Loaded by test_both_views.py.

// Return elements, attributes and text as lines. Colours of code are only in the final view.
export function outline(root) {
  const lines = [];
  collect(root, "", lines);
  return lines.join("\n");
}

function collect(parent, indent, lines) {
  for (const node of merged(parent)) {
    if (typeof node === "string") {
      lines.push(`${indent}${JSON.stringify(node)}`);
    } else {
      const attributes = [...node.attributes].map(({ name, value }) => ` ${name}=${JSON.stringify(value)}`).sort();
      lines.push(`${indent}<${node.localName}${attributes.join("")}>`);
      collect(node, `${indent}  `, lines);
    }
  }
}

function merged(parent) {
  const found = [];
  for (const node of parent.childNodes) {
    const isColour = node.localName === "span" && !["formula", "part"].includes(node.className);
    for (const each of isColour ? merged(node) : [node.nodeType === Node.TEXT_NODE ? node.data : node]) {
      if (typeof each === "string" && typeof found.at(-1) === "string") found.push(found.pop() + each);
      else found.push(each);
    }
  }
  return found;
}

// The final view draws formulas. They are compared as they were written.
function parsed(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const formula of body.querySelectorAll("[data-tex]")) {
    formula.textContent = formula.dataset.tex;
    formula.removeAttribute("data-tex");
  }
  return body;
}

// Links whose definition comes later exist only when it is there.
function withoutReferences(root) {
  for (const link of [...root.querySelectorAll("a")]) if (link.textContent.startsWith("[")) link.replaceWith(...link.childNodes);
  root.normalize();
  return root;
}

// Draw each text in pieces, and compare at each of its prefixes and at the end. Return the differences, and how
// large what is drawn is.
export async function compared(cases) {
  const { BlockStream } = await import("/static/chat/rendering/block_stream.js");
  const found = [];
  const sizes = [];
  for (const { text, pieces, prefixes, html } of cases) {
    const root = document.createElement("div");
    const stream = new BlockStream(root);
    const finish = () => { while (!stream.work(performance.now() + 1_000)); };
    const compare = (at, drawn, expected) => {
      if (outline(drawn) !== outline(expected) || drawn.textContent !== expected.textContent) {
        found.push({ text, at, drawn: outline(drawn), server: outline(expected) });
      }
    };
    let position = 0;
    for (const end of pieces) {
      stream.write(text.slice(position, end));
      finish();
      if (prefixes[end]) compare(end, withoutReferences(root.cloneNode(true)), withoutReferences(parsed(prefixes[end])));
      position = end;
    }
    stream.write(text.slice(position));
    stream.end();
    finish();
    compare("end", root, parsed(html));
    sizes.push({ elements: root.querySelectorAll("*").length, depth: depthOf(root) });
  }
  return { found, sizes };
}

function depthOf(root) {
  let depth = 1;
  for (const child of root.children) depth = Math.max(depth, 1 + depthOf(child));
  return depth;
}
