// The chat page: one socket, one outbox, and what they tell the transcript, the composer and the sidebar.

import "./composer.js";
import "./transcript.js";
import { config, current, request, say, tab, url } from "./config.js";
import { Connection } from "./connection.js";
import { followSettings, startDialogs } from "./dialogs.js";
import { startKeyboard } from "./keyboard.js";
import { Outbox } from "./outbox.js";
import { startPreferences } from "./preferences.js";
import { refreshSidebar, startSidebar } from "./sidebar.js";
import { Socket } from "./socket.js";

const socket = new Socket(url.socket());
const outbox = new Outbox();
const transcript = document.querySelector("chat-transcript");
const composer = document.querySelector("chat-composer");
const connection = new Connection(document.querySelector(".connection"), socket);
const picker = document.getElementById("model");
// Whether notices reach this page since its socket was opened.
let isWatching = false;
let dueTimer = 0;

// -- asking ---------------------------------------------------------------------------------------

function ask(fields) {
  const model = fields.continue ? undefined : picker && Number(picker.value);
  const settings = current.id ? {} : composer.settings;
  const item = outbox.add({ conversation: current.id || null, model: model || undefined, ...settings, ...fields });
  transcript.showPending(item);
  socket.send(Outbox.frameOf(item));
}

function send({ text, edit }) {
  document.querySelector(".welcome")?.setAttribute("hidden", "");
  ask(edit ? { text, parent: edit.parent, replaces: edit.id } : { text });
}

function stop() {
  const generation = transcript.running;
  if (generation === null || socket.send({ type: "stop", generation })) return;
  request(url.stop(generation), { method: "POST" }).catch((error) => connection.failed(error));
}

function sendDue() {
  for (const item of outbox.due()) {
    if (isShownHere(item)) transcript.tellPending(item.client_id, "send");
    socket.send(Outbox.frameOf(item));
  }
  expectMoreDue();
}

// What other tabs have asked becomes ours to send when they do not seem to.
function expectMoreDue() {
  clearTimeout(dueTimer);
  const { msUntilMore } = outbox;
  if (msUntilMore < Infinity) dueTimer = setTimeout(sendDue, msUntilMore);
}

function delayDue() {
  for (const item of outbox.due().filter(isShownHere)) transcript.tellPending(item.client_id, "sendLater");
}

// After a reload: what was not acknowledged is on the screen again.
function showDue() {
  for (const item of outbox.due().filter(isShownHere)) {
    document.querySelector(".welcome")?.setAttribute("hidden", "");
    transcript.showPending(item);
  }
}

function isShownHere(item) {
  return item.tab === tab && (item.conversation ?? "") === current.id;
}

// -- what the server says -------------------------------------------------------------------------

function accepted(frame) {
  const item = outbox.take(frame.client_id);
  refreshSidebar();
  if (!Outbox.isMine(item)) return;
  if (!item.conversation && !current.id) adopt(frame.conversation);
  if (frame.conversation === current.id) transcript.accept(frame);
  // Asked here while another new conversation was, which has this page now.
  else transcript.refuse(frame.client_id);
}

function refused(frame) {
  if (frame.code === "outdated") return outdated();
  // What is not found here any more, the page finds out by reading it again.
  if (!frame.client_id) return frame.code === "not_found" ? void transcript.sync() : composer.problem(frame.message);
  const item = outbox.take(frame.client_id);
  composer.endHold();
  transcript.refuse(frame.client_id);
  if (!current.id && !transcript.childElementCount) document.querySelector(".welcome")?.removeAttribute("hidden");
  if (!item) return;
  const home = frame.code === "not_found" ? "" : (item.conversation ?? "");
  if (Outbox.isMine(item) || home === current.id) composer.giveBack(item, frame.message);
  else composer.keepFor(home, item, frame.message);
}

function outdated() {
  connection.outdated();
  delayDue();
}

// The new conversation has an address now; the page goes on under it without a reload.
function adopt(id) {
  current.id = id;
  history.replaceState(null, "", url.conversation(id));
  document.querySelector(".welcome")?.remove();
  const link = document.getElementById("configure");
  link.href = url.configure(id);
  link.dataset.dialog = "";
  composer.moved();
  watch();
}

function watch() {
  socket.send({ type: "watch", conversation: current.id || null });
}

function changed({ conversation, what, generation }) {
  refreshSidebar();
  if (conversation !== current.id) return;
  if (what === "deleted" || what === "restored") {
    tellDeleted(what === "deleted");
  } else if (what === "started" || what === "selected") {
    transcript.sync();
    // Who asks may have chosen another model.
    if (!transcript.isBusy) followModel();
  } else if (what === "configured") {
    followModel();
  } else if (what === "finished" && !transcript.isFollowing(generation)) {
    transcript.sync();
  }
}

function tellDeleted(isDeleted) {
  connection.deleted(isDeleted);
  composer.close(isDeleted);
}

function followModel() {
  followSettings(current.id).catch((error) => connection.failed(error));
}

// The composer says when a demo model is the one that answers.
function noteDemo() {
  document.querySelector(".demo").hidden = !picker.selectedOptions[0]?.hasAttribute("data-demo");
}

function receive(frame) {
  if (frame.type === "accepted") accepted(frame);
  else if (frame.type === "refused") refused(frame);
  else if (frame.type === "changed") changed(frame);
  else if (frame.type === "pong") catchUp();
  else if (frame.generation !== undefined) transcript.receive(frame);
}

function opened() {
  isWatching = false;
  watch();
  socket.ping();
  transcript.resume();
  sendDue();
}

// Notices are lost until the first pong, which says that the page is told of them from now on: it reads
// again what they were about.
function catchUp() {
  if (isWatching) return;
  isWatching = true;
  transcript.sync();
  refreshSidebar();
}

function caughtUp() {
  connection.caughtUp();
  composer.close(false);
}

// -- wiring ---------------------------------------------------------------------------------------

transcript.addEventListener("busy", ({ detail }) => composer.setBusy(detail.isBusy, transcript.running !== null));
transcript.addEventListener("ask", ({ detail }) => ask(detail));
transcript.addEventListener("edit", ({ detail }) => composer.beginEdit(detail));
transcript.addEventListener("ended-early", () => composer.endHold(say("notSent")));
transcript.addEventListener("not-now", ({ detail }) => composer.problem(detail.reason));
transcript.addEventListener("failure", ({ detail }) => connection.failed(detail.error));
transcript.addEventListener("caught-up", caughtUp);
transcript.addEventListener("gone", () => tellDeleted(true));
composer.addEventListener("send", ({ detail }) => send(detail));
composer.addEventListener("stop", stop);
composer.addEventListener("edit-last", () => transcript.edit());
composer.addEventListener("edited", ({ detail }) => transcript.markEdited(detail.id));
picker?.addEventListener("change", noteDemo);
document.getElementById("configure").addEventListener("click", (event) => {
  // A conversation that has not begun has its settings on this page.
  if (current.id) return;
  event.preventDefault();
  composer.showSettings();
});
socket.addEventListener("open", opened);
socket.addEventListener("closed", delayDue);
socket.addEventListener("frame", ({ detail }) => receive(detail));
addEventListener("storage", (event) => Outbox.isAddedBy(event) && expectMoreDue());

startSidebar();
startDialogs();
startPreferences(document.querySelector("form.theme"), document.getElementById("enter-sends"));
startKeyboard({ composer, stop });
composer.start();
transcript.start(socket, document.querySelector(".latest"));
showDue();
socket.start();
