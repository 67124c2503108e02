// The pictures of an answer in progress. Loaded with the first one.

import { translate, url } from "./config.js";

// Add a picture; the same as the server's chat/_pictures.html.
export function showPicture(box, { attachment, name, width, height, problem = "", address = "" }) {
  if (box.querySelector(`[data-id="${attachment}"]`)) return;
  const figure = element("figure", "picture");
  figure.dataset.id = attachment;
  figure.append(...(problem ? [note(problem, address)] : shown(url.attachment(attachment), name, width, height)));
  box.append(figure);
  box.hidden = false;
}

function note(problem, address) {
  const words = element("p", "picture-note muted", address ? `${problem} ` : problem);
  if (address) {
    const place = element("span", "picture-address", address);
    place.dir = "ltr";
    words.append(place);
  }
  return words;
}

function shown(place, name, width, height) {
  const image = Object.assign(element("img", ""), { src: place, alt: name, width, height });
  const open = Object.assign(element("a", ""), { href: place, target: "_blank" });
  open.append(image);
  const save = Object.assign(element("a", "meta", `${translate("download")} `), { href: place, download: name });
  const label = element("span", "", name);
  label.dir = "auto";
  save.append(label);
  const caption = element("figcaption", "");
  caption.append(save);
  return [open, caption];
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
