// The chat page: connects the socket and the outbox with the transcript, the composer and the sidebar.

import "./composer.js";
import "./transcript.js";
import { startAttaching } from "./attach.js";
import { config, current, request, translate, tab, url } from "./config.js";
import { Connection } from "./connection.js";
import { followSettings, startDialogs } from "./dialogs.js";
import { startKeyboard } from "./keyboard.js";
import { chosenModel, comparedModels, endComparing, isDemo, startModels } from "./models.js";
import { Outbox } from "./outbox.js";
import { startPreferences } from "./preferences.js";
import { Queue } from "./queue.js";
import { refreshSidebar, showEnd, showStart, startSidebar } from "./sidebar.js";
import { Socket } from "./socket.js";

const socket = new Socket(url.socket());
const outbox = new Outbox();
const transcript = document.querySelector("chat-transcript");
const composer = document.querySelector("chat-composer");
const queue = new Queue(document.getElementById("queued"), { onSend: sendQueued, onEdit: (ask) => composer.restoreText(ask, "") });
const connection = new Connection(document.querySelector(".connection"), socket);
// Whether the current socket already delivers `changed` notices.
let isNotified = false;
let dueTimer = 0;

// -- sending --------------------------------------------------------------------------------------

function ask(fields) {
  const model = fields.continue ? undefined : chosenModel();
  const settings = current.id ? {} : composer.settings;
  const item = outbox.add({ conversation: current.id || null, model, ...settings, ...fields });
  transcript.showPending(item);
  socket.send(Outbox.frameOf(item));
}

function send({ text, edit, later, attachments }) {
  document.querySelector(".welcome")?.setAttribute("hidden", "");
  const others = comparedModels();
  ask({ text, later, attachments, ...(edit && { parent: edit.parent, replaces: edit.id }), ...(others.length && { compare: others }) });
  endComparing();
}

// Queue a message for the models that are chosen now.
function enqueue(message) {
  queue.add({ ...message, model: chosenModel(), compare: comparedModels() });
  endComparing();
  transcript.showEnd();
}

function sendQueued({ compare, ...fields }) {
  ask({ ...fields, ...(compare?.length && { compare }) });
}

function stop() {
  for (const generation of transcript.running) {
    if (!socket.send({ type: "stop", generation })) request(url.stop(generation), { method: "POST" }).catch((error) => connection.failed(error));
  }
}

function sendDue() {
  for (const item of outbox.due()) {
    if (isShownHere(item)) transcript.showPendingState(item.client_id, "send");
    socket.send(Outbox.frameOf(item));
  }
  scheduleDue();
}

// Messages that other tabs do not send become due here after a while.
function scheduleDue() {
  clearTimeout(dueTimer);
  const { msUntilMore } = outbox;
  if (msUntilMore < Infinity) dueTimer = setTimeout(sendDue, msUntilMore);
}

function showDueAsDelayed() {
  for (const item of outbox.due().filter(isShownHere)) transcript.showPendingState(item.client_id, "sendLater");
}

// After a reload: show the messages that are not acknowledged yet.
function showDue() {
  for (const item of outbox.due().filter(isShownHere)) {
    document.querySelector(".welcome")?.setAttribute("hidden", "");
    transcript.showPending(item);
  }
}

function isShownHere(item) {
  return item.tab === tab && (item.conversation ?? "") === current.id;
}

// -- frames of the server -------------------------------------------------------------------------

function accepted(frame) {
  const item = outbox.take(frame.client_id);
  composer.warn(frame.warning);
  if (!frame.later) showStart(frame.conversation);
  if (!Outbox.isMine(item)) return;
  if (!item.conversation && !current.id) showConversation(frame.conversation, item.temporary);
  if (frame.conversation === current.id) transcript.accept(frame);
  // The page shows another conversation by now.
  else transcript.refuse(frame.client_id);
}

function refused(frame) {
  if (frame.code === "outdated") return outdated();
  // Something on this page no longer exists: synchronize with the server.
  if (!frame.client_id) return frame.code === "not_found" ? void transcript.sync() : composer.problem(frame.message);
  const item = outbox.take(frame.client_id);
  queue.hold(translate("notSent"));
  transcript.refuse(frame.client_id);
  if (!current.id && !transcript.childElementCount) document.querySelector(".welcome")?.removeAttribute("hidden");
  if (!item) return;
  // The text of a deleted conversation goes to a new one.
  const conversation = frame.code === "not_found" ? "" : (item.conversation ?? "");
  if (Outbox.isMine(item) || conversation === current.id) composer.restoreText(item, frame.message);
  else composer.saveDraftFor(conversation, item, frame.message);
}

function outdated() {
  connection.outdated();
  showDueAsDelayed();
}

// The new conversation has an address now. The page takes it without a reload.
function showConversation(id, isTemporary) {
  if (isTemporary) {
    const notice = document.createElement("p");
    notice.className = "notice temporary";
    notice.textContent = translate("temporary");
    transcript.prepend(notice);
    // It has no row in the list that would name it.
    document.getElementById("title").textContent = translate("temporaryTitle");
  }
  current.id = id;
  history.replaceState(null, "", url.conversation(id));
  document.querySelector(".welcome")?.remove();
  document.querySelector(".below")?.remove();
  const link = document.getElementById("configure");
  link.href = url.configure(id);
  link.dataset.dialog = "side";
  const outline = document.getElementById("outline");
  outline.href = url.outline(id);
  outline.hidden = false;
  composer.conversationCreated();
  queue.created(id);
  watch();
}

function watch() {
  socket.send({ type: "watch", conversation: current.id || null });
}

function changed({ conversation, what, generation }) {
  if (what === "batch") return; // batches have pages of their own
  // The sidebar shows every change: new, renamed and deleted conversations, answers in progress.
  if (what === "finished") showEnd(conversation);
  else if (what === "started") showStart(conversation);
  else refreshSidebar();
  if (what === "finished" && document.hidden) import("./notices.js").then(({ noticeEnd }) => noticeEnd(conversation));
  if (conversation !== current.id) return;
  switch (what) {
    case "deleted":
    case "restored":
      return showDeleted(what === "deleted");
    case "started":
    case "selected":
      // What this page asked, it shows and synchronizes already.
      if (!transcript.isFollowing(generation)) transcript.sync();
      // The message may have been sent with another model.
      if (!transcript.isBusy) followModel();
      return;
    case "finished":
      if (!transcript.isFollowing(generation)) transcript.sync();
      return;
    case "configured":
      return followModel();
    case "redacted":
      // What was removed goes from the screen too. Drafts are kept by the browser.
      return location.reload();
    // "created" and "renamed" only concern the sidebar, which also updates the title.
  }
}

function showDeleted(isDeleted) {
  connection.deleted(isDeleted);
  if (isDeleted) queue.hold(translate("deletedElsewhere"));
  composer.close(isDeleted);
}

function followModel() {
  followSettings(current.id).catch((error) => connection.failed(error));
}

// The composer shows a notice while a demo model is selected.
function updateDemoNotice() {
  document.querySelector(".demo").hidden = !isDemo();
  composer.files?.modelChosen();
}

function receive(frame) {
  if (frame.type === "accepted") accepted(frame);
  else if (frame.type === "refused") refused(frame);
  else if (frame.type === "changed") changed(frame);
  else if (frame.type === "pong") catchUp();
  else if (frame.type === "article") transcript.showFinal(frame);
  else if (frame.generation !== undefined) transcript.receive(frame);
}

function opened() {
  isNotified = false;
  watch();
  socket.ping();
  transcript.resume();
  sendDue();
}

// Notices can be lost before the first pong of a socket. After it, reload what they may have been about.
function catchUp() {
  if (isNotified) return;
  isNotified = true;
  transcript.sync();
  refreshSidebar();
}

function caughtUp() {
  connection.caughtUp();
  composer.close(false);
}

// -- wiring ---------------------------------------------------------------------------------------

transcript.addEventListener("busy", ({ detail }) => {
  composer.setBusy(detail.isBusy, transcript.running.length > 0, detail.isUndecided);
  queue.update(detail);
});
transcript.addEventListener("ask", ({ detail }) => ask(detail));
transcript.addEventListener("edit", ({ detail }) => composer.beginEdit(detail));
transcript.addEventListener("ended-early", () => queue.hold(translate("notSent")));
transcript.addEventListener("edit-refused", ({ detail }) => composer.problem(detail.reason));
transcript.addEventListener("failure", ({ detail }) => connection.failed(detail.error));
transcript.addEventListener("caught-up", caughtUp);
transcript.addEventListener("gone", () => showDeleted(true));
composer.addEventListener("send", ({ detail }) => send(detail));
composer.addEventListener("stop", stop);
composer.addEventListener("queue", ({ detail }) => enqueue(detail));
composer.addEventListener("edit-last", () => queue.editLast() || transcript.edit());
composer.addEventListener("edited", ({ detail }) => transcript.markEdited(detail.id));
startModels({ onChosen: updateDemoNotice, onFailure: (error) => connection.failed(error) });
document.getElementById("configure").addEventListener("click", (event) => {
  // The settings of a new conversation are part of this page.
  if (current.id) return;
  event.preventDefault();
  composer.showSettings();
});
socket.addEventListener("open", opened);
socket.addEventListener("closed", showDueAsDelayed);
socket.addEventListener("frame", ({ detail }) => receive(detail));
addEventListener("storage", (event) => Outbox.isAddedBy(event) && scheduleDue());

// The library of prompts is loaded when a message begins with a slash.
document.getElementById("text").addEventListener("input", ({ target }) => {
  if (!/^\/[^\s/]*$/.test(target.value)) return;
  import("./slash.js").then(({ offerPrompts }) => offerPrompts(composer)).catch((error) => connection.failed(error));
});
// So is what a selection in an answer offers.
transcript.addEventListener("pointerup", offerQuoting);

function offerQuoting() {
  if (getSelection().isCollapsed) return;
  transcript.removeEventListener("pointerup", offerQuoting);
  import("./quote.js").then(({ startQuoting }) => startQuoting(transcript, quote));
}

// Gestures are for fingers only.
function loadGestures() {
  import("./gestures.js").then(({ startGestures }) => startGestures(), () => addEventListener("touchstart", loadGestures, { once: true, passive: true }));
}

function loadingFailed(error) {
  connection.failed(error);
}

function quote(lines) {
  composer.fill(`${composer.text.trimEnd()}${composer.text.trim() ? "\n\n" : ""}${lines}\n\n`);
}

startAttaching(composer);
startSidebar(loadingFailed);
startDialogs();
if (matchMedia("(any-pointer: coarse)").matches) loadGestures();
startPreferences(document.querySelector("form.theme"), document.getElementById("enter-sends"));
startKeyboard({ composer, stop, onFailure: loadingFailed });
composer.start();
transcript.start(socket, document.querySelector(".latest"));
showDue();
socket.start();
