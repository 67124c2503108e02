// Says that an answer is complete while the user is elsewhere: in the title, by the icon, and by the browser.

import { translate, url } from "./config.js";

const icon = document.querySelector("link[rel=icon]");
const plainIcon = icon.href;
let plainTitle = "";
const shown = new Set();

export function noticeEnd(conversation) {
  if (document.visibilityState === "visible") return;
  if (!plainTitle) {
    plainTitle = document.title;
    document.title = `● ${plainTitle}`;
    icon.href = icon.dataset.news;
  }
  if (globalThis.Notification?.permission !== "granted") return;
  const title = document.querySelector(`[data-conversation="${conversation}"] .conversation-title`)?.textContent;
  // One notice per conversation, whichever tabs are open.
  const notice = new Notification(translate("answerReady"), { body: title ?? "", tag: `chatsite-${conversation}`, icon: plainIcon });
  notice.addEventListener("click", () => {
    window.focus();
    if (!location.href.includes(conversation)) location.assign(url.conversation(conversation));
    notice.close();
  });
  shown.add(notice);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" || !plainTitle) return;
  // The conversation may have got another title meanwhile.
  document.title = document.title.replace(/^● /, "");
  plainTitle = "";
  icon.href = plainIcon;
  for (const notice of shown) notice.close();
  shown.clear();
});
