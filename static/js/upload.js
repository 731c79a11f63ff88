// Uploads files one by one as they are dropped or chosen, and follows each until it is ready.

import { dropped } from "./dropped.js";

const AT_ONCE = 3;
const POLL = 2000;
const form = document.querySelector("[data-upload]");
const choice = form?.querySelector("[name=collection]");
if (form) {
  const drop = form.querySelector("[data-drop]");
  const picker = form.querySelector("#files");
  const folder = form.querySelector("[data-folder]");
  const pick = form.querySelector("[data-pick-folder]");

  for (const hint of form.querySelectorAll("[data-drop-hint]")) hint.hidden = false;
  form.querySelector("[data-send]").hidden = true; // files go as soon as they are chosen
  picker.addEventListener("change", () => take([...picker.files], picker));
  folder.addEventListener("change", () => take(visible([...folder.files]), folder));
  pick.hidden = !("webkitdirectory" in folder);
  pick.addEventListener("click", () => folder.click());
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(await dropped(event.dataTransfer));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  choice.addEventListener("change", release);
}

const list = document.querySelector("[data-files]");
const status = document.querySelector("[data-announce]");
const waiting = [];
const held = []; // files whose collection is not chosen yet
const watched = new Map(); // collection slug → ids of documents in work
let sending = 0;

function visible(files) {
  return files.filter((file) => !file.webkitRelativePath.split("/").some((part) => part.startsWith(".")));
}

function take(files, input) {
  if (!files.length) return;
  list.hidden = false;
  for (const file of files) held.push({ file, row: row(file) });
  if (input) input.value = "";
  release();
}

function release() {
  const unchosen = form.querySelector("[data-unchosen]");
  unchosen.hidden = Boolean(choice.value) || !held.length;
  if (!choice.value) {
    for (const { row } of held) row.querySelector(".state").textContent = "Waiting for a collection";
    if (held.length) {
      status.textContent = unchosen.textContent;
      choice.focus();
    }
    return;
  }
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  for (const job of held.splice(0)) {
    job.row.querySelector(".state").textContent = "Waiting";
    waiting.push({ ...job, slug: choice.value, token });
  }
  for (let free = AT_ONCE - sending; free > 0; free--) next();
}

function row(file) {
  const item = document.getElementById("upload-draft").content.cloneNode(true).firstElementChild;
  item.querySelector(".name").textContent = file.webkitRelativePath || file.name;
  item.querySelector("progress").setAttribute("aria-label", `Upload of ${file.name}`);
  list.append(item);
  return item;
}

async function next() {
  const job = waiting.shift();
  if (!job) return;
  sending += 1;
  try {
    if (job.file.size > Number(form.dataset.mostBytes)) throw new Error(tooLarge(job.file));
    taken(job, await send(job));
  } catch (error) {
    refused(job.row, error.message);
  }
  sending -= 1;
  if (!sending && !waiting.length) status.textContent = "All files are uploaded.";
  next();
}

function tooLarge(file) {
  const most = Math.floor(Number(form.dataset.mostBytes) / 1024 ** 2);
  return `${file.name} is larger than ${most} MB, which is the most that is taken.`;
}

function send({ file, slug, token, row }) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", token);
  body.append("collection", slug);
  body.append("files", file, file.name);
  const request = new XMLHttpRequest(); // fetch tells nothing of how much is sent
  row.querySelector(".state").textContent = "Uploading";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) row.querySelector("progress").value = event.loaded / event.total;
  });
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      const answer = request.getResponseHeader("Content-Type") === "application/json" ? request.response : null;
      if (answer?.id) resolve(answer);
      else reject(new Error(answer?.problem ?? "The server refused it. Load this page anew and try again."));
    });
    request.addEventListener("error", () => reject(new Error("The connection broke off. Try this file again.")));
    request.responseType = "json";
    request.open("POST", form.action || location.href);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
}

function taken({ slug, row }, answer) {
  const link = document.createElement("a");
  link.href = answer.url;
  link.textContent = row.querySelector(".name").textContent;
  row.querySelector(".name").replaceChildren(link);
  if (!answer.created) row.querySelector("[data-note]").textContent = "Was here already, with the very same content.";
  const state = document.createElement("div");
  state.id = `state-${answer.id}`;
  state.append(row.querySelector(".state"));
  state.firstChild.textContent = "Queued";
  row.querySelector("[data-side]").replaceChildren(state);
  if (!watched.size) setTimeout(poll, 300);
  watched.set(slug, (watched.get(slug) ?? new Set()).add(answer.id));
}

function refused(row, message) {
  const state = row.querySelector(".state");
  state.className = "state failed";
  state.textContent = "Not taken";
  row.querySelector("progress")?.remove();
  const why = document.createElement("p");
  why.className = "why";
  why.textContent = message;
  row.append(why);
}

async function poll() {
  for (const [slug, ids] of [...watched]) {
    const query = [...ids].slice(0, 100).map((id) => `id=${id}`).join("&");
    const response = await fetch(`/library/${slug}/progress/?${query}`).catch(() => null);
    if (response?.ok) show(await response.text(), ids);
    if (!ids.size) watched.delete(slug);
  }
  if (watched.size) setTimeout(poll, POLL);
  else status.textContent = "All files are worked off.";
}

function show(html, ids) {
  const fragment = document.createElement("template");
  fragment.innerHTML = html; // rendered by our own server, which escapes what it did not write
  for (const state of fragment.content.querySelectorAll("[data-state]")) {
    document.getElementById(state.id)?.replaceWith(state);
    if (["ready", "failed"].includes(state.dataset.state)) ids.delete(state.id.replace("state-", ""));
  }
}

// Files that were chosen before this script had come.
if (form) take([...form.querySelector("#files").files], form.querySelector("#files"));
