// The list that a reviewer came from, kept for this tab: the next conversation is that of the list as it was,
// also of a random sample.

const KEY = "review-list";
const LINK = "a[href*='/conversation/'][href*='/change/']";

function conversationOf(address) {
  return new URL(address, location.href).pathname.match(/\/conversation\/([0-9a-f-]{36})\/change\//)?.[1];
}

function read(root, base) {
  const found = new Map();
  for (const link of root.querySelectorAll(LINK)) {
    const address = new URL(link.getAttribute("href"), base);
    const id = conversationOf(address);
    if (id && !found.has(id)) found.set(id, address.pathname + address.search + address.hash);
  }
  const page = (selector) => {
    const link = root.querySelector(selector);
    return link ? new URL(link.getAttribute("href"), base).href : null;
  };
  return { ids: [...found.keys()], addresses: [...found.values()], next: page("[rel=next], .paginator .this-page + a"), list: base };
}

// Remember the list of this page, if it has one.
export function rememberList(results) {
  if (results) sessionStorage.setItem(KEY, JSON.stringify({ ...read(document, location.href), ...only(results) }));
}

function only(results) {
  const { ids, addresses } = read(results, location.href);
  return { ids, addresses };
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

// Return the address of the next (1) or previous (-1) conversation, or null. The list grows by its next page.
export async function neighbour(id, step) {
  const list = kept();
  if (!list) return null;
  const at = list.ids.indexOf(id);
  if (at < 0) return step > 0 ? list.addresses[0] ?? null : null;
  if (at + step < list.ids.length) return list.addresses[at + step] ?? null;
  return await grow(list) ? neighbour(id, step) : null;
}

async function grow(list) {
  if (!list.next) return false;
  const response = await fetch(list.next, { credentials: "same-origin" }).catch(() => null);
  if (!response?.ok) return false;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const results = page.querySelector("#result_list, [data-review-list]");
  const more = results ? read(results, list.next) : { ids: [], addresses: [] };
  const isNew = more.ids.map((id) => !list.ids.includes(id));
  list.ids.push(...more.ids.filter((_, at) => isNew[at]));
  list.addresses.push(...more.addresses.filter((_, at) => isNew[at]));
  list.next = read(page, list.next).next;
  sessionStorage.setItem(KEY, JSON.stringify(list));
  return isNew.some(Boolean);
}
