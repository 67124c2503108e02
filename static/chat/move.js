// Conversations are dragged from the list onto a project. By keyboard, M on a row opens the same choice as a dialog.

import { announce, request, translate, url } from "./config.js";

// Show the projects while this conversation is dragged. `onMoved()` is called when it was dropped on one.
export function offerProjects(conversation, source, onMoved) {
  const box = document.getElementById("projects");
  if (box.hidden) return;
  const wasOpen = box.open;
  box.open = true;
  box.classList.add("is-target");
  const over = (event) => {
    const project = event.target.closest("[data-project]");
    if (project) event.preventDefault();
    for (const each of box.querySelectorAll("[data-project]")) each.classList.toggle("is-over", each === project);
  };
  const dropped = (event) => {
    const project = event.target.closest("[data-project]");
    if (!project) return;
    event.preventDefault();
    moveTo(conversation, project).then(onMoved, () => announce(translate("moveFailed")));
  };
  box.addEventListener("dragover", over);
  box.addEventListener("drop", dropped);
  source.addEventListener("dragend", () => {
    box.removeEventListener("dragover", over);
    box.removeEventListener("drop", dropped);
    box.classList.remove("is-target");
    box.open = wasOpen;
    for (const each of box.querySelectorAll(".is-over")) each.classList.remove("is-over");
  }, { once: true });
}

async function moveTo(conversation, project) {
  const body = new URLSearchParams({ action: "move", project: project.dataset.project });
  await request(url.organise(conversation), { method: "POST", body });
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = translate("moved", { project: project.textContent.trim() });
  document.getElementById("toasts").replaceChildren(toast);
}
