// Measures how long the page is blocked while texts are drawn. Loaded by hostile_text.py.

const { MarkdownStream } = await import("/static/chat/markdown.js");
const { addCodeHeads } = await import("/static/chat/clipboard.js");
const FRAMES = 120;

const frame = () => new Promise(requestAnimationFrame);
const root = () => document.querySelector(".prose");
const toEnd = () => {
  const box = document.querySelector(".scroller");
  box.scrollTop = box.scrollHeight;
};

// Run `work` and return the longest time in ms between two turns of the event loop meanwhile, frames included.
async function longestPause(work) {
  let longest = 0;
  let last = performance.now();
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    channel.port2.postMessage(0);
  };
  channel.port2.postMessage(0);
  await work();
  for (let index = 0; index < 10; index++) await frame();
  channel.port1.close();
  return longest;
}

async function drawn(stream) {
  while (!stream.isDrawn) {
    await frame();
    toEnd();
  }
}

// Draw a text that arrives in FRAMES pieces, or in one.
export async function written(text, pieces = FRAMES) {
  const stream = new MarkdownStream(root(), () => addCodeHeads(document));
  await new Promise((done) => setTimeout(done, 50));
  const size = Math.ceil(text.length / pieces);
  return longestPause(async () => {
    for (let start = 0; start < text.length; start += size) {
      stream.write(text.slice(start, start + size));
      toEnd();
      await frame();
    }
    stream.end();
    await drawn(stream);
  });
}

// Replace the answer by its final HTML, as the page does when the answer is complete.
export async function replaced(html) {
  return longestPause(async () => {
    const template = document.createElement("template");
    template.innerHTML = `<article class="message answer"><div class="prose">${html}</div></article>`;
    document.querySelector("article").replaceWith(template.content);
    addCodeHeads(document);
    toEnd();
    await frame();
    toEnd();
  });
}

// Scroll through the answer from its end to its start.
export async function scrolled() {
  const box = document.querySelector(".scroller");
  return longestPause(async () => {
    for (let step = 0; step < 60; step++) {
      box.scrollTop = step < 30 ? box.scrollTop - 900 : box.scrollHeight * (1 - step / 60);
      await frame();
    }
  });
}
