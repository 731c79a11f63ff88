// Uploads files one by one as they are dropped or chosen, and follows each until it is ready.
//
// Files that are sent while others are under way, into the same collection, are one upload: its bar and its
// buttons stand above them.

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
const opened = new Map(); // collection slug → promise of the upload that files go into at present
const uploads = []; // every upload of this page that is still at work
const DONE = ["ready", "failed", "cancelled"];
const full = new Set(); // slugs of collections that take no more at present
let sending = 0;
let polling = false;

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
  for (const job of held.splice(0)) {
    job.row.querySelector(".state").textContent = "Waiting";
    waiting.push({ ...job, slug: choice.value });
  }
  fill();
}

function fill() {
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
  const rests = (slug) => full.has(slug) || uploads.some((upload) => upload.slug === slug && upload.held);
  const place = waiting.findIndex(({ slug }) => !rests(slug));
  if (place < 0) return;
  const [job] = waiting.splice(place, 1);
  sending += 1;
  try {
    if (job.file.size > Number(form.dataset.mostBytes)) throw new Error(tooLarge(job.file));
    job.upload = await open(job);
    if (job.upload.cancelled) throw new Error("Cancelled before it was sent.");
    taken(job, await send(job));
  } catch (error) {
    if (error.seconds) later(job, error);
    else refused(job.row, error.message);
  }
  sending -= 1;
  unsent();
  if (!sending && !waiting.length) {
    opened.clear(); // what is put in from now on is another upload
    status.textContent = "All files are uploaded.";
  }
  next();
}

// The collection takes no more at present: its files wait here, and go by themselves.
function later(job, { message, seconds }) {
  waiting.unshift(job);
  job.row.querySelector(".state").textContent = "Waiting";
  job.row.querySelector("progress").value = 0;
  job.row.querySelector("[data-note]").textContent = "Too much waits already: it is sent by itself when there is room.";
  if (!full.has(job.slug)) status.textContent = message;
  full.add(job.slug);
  setTimeout(() => {
    full.delete(job.slug);
    fill();
  }, 1000 * seconds);
}

function tooLarge(file) {
  const most = Math.floor(Number(form.dataset.mostBytes) / 1024 ** 2);
  return `${file.name} is larger than ${most} MB, which is the most that is taken.`;
}

function token() {
  return form.querySelector("[name=csrfmiddlewaretoken]").value;
}

function open({ slug, file }) {
  if (!opened.has(slug)) opened.set(slug, begin(slug, file.webkitRelativePath.split("/")[0]));
  return opened.get(slug);
}

async function begin(slug, folder) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", token());
  body.append("collection", slug);
  body.append("name", folder);
  const headers = { Accept: "application/json" };
  const response = await fetch(form.dataset.open, { method: "POST", body, headers }).catch(() => null);
  const answer = response?.headers.get("Content-Type") === "application/json" ? await response.json() : null;
  if (!answer?.id) {
    opened.delete(slug);
    throw new Error(answer?.problem ?? "The server refused it. Load this page anew and try again.");
  }
  const upload = { ...answer, slug, ids: new Set(), whole: whole(answer), held: false, cancelled: false, work: 0 };
  uploads.push(upload);
  return upload;
}

function whole({ id, url }) {
  const section = document.getElementById("whole-draft").content.cloneNode(true).firstElementChild;
  section.querySelector("[data-page]").href = url;
  section.querySelector("[data-figures]").id = `whole-${id}`;
  section.querySelector("[data-acts]").id = `acts-${id}`;
  document.querySelector("[data-wholes]").prepend(section);
  return section;
}

function unsent() {
  for (const upload of uploads) {
    const count = waiting.filter(({ slug }) => slug === upload.slug).length;
    upload.whole.querySelector("[data-unsent]").textContent = count ? `· ${count} still to be sent` : "";
  }
}

function send({ file, slug, row, upload }) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", token());
  body.append("collection", slug);
  body.append("upload", upload.id);
  body.append("tags", form.elements.tags.value);
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
      else reject(refusal(answer));
    });
    request.addEventListener("error", () => reject(new Error("The connection broke off. Try this file again.")));
    request.responseType = "json";
    request.open("POST", form.getAttribute("action") || location.href);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
}

function refusal(answer) {
  const error = new Error(answer?.problem ?? "The server refused it. Load this page anew and try again.");
  return Object.assign(error, { seconds: answer?.seconds });
}

function taken({ row, upload }, answer) {
  const link = document.createElement("a");
  link.href = answer.url;
  link.textContent = row.querySelector(".name").textContent;
  row.querySelector(".name").replaceChildren(link);
  row.querySelector("[data-note]").textContent = "";
  if (!answer.created) row.querySelector("[data-note]").textContent = "Was here already, with the very same content.";
  const state = document.createElement("div");
  state.id = `state-${answer.id}`;
  state.append(row.querySelector(".state"));
  state.firstChild.textContent = "Queued";
  row.querySelector("[data-side]").replaceChildren(state);
  upload.ids.add(answer.id);
  soon(300);
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

function soon(delay) {
  if (!polling) setTimeout(poll, delay);
  polling = true;
}

async function poll() {
  for (const upload of [...uploads]) await refresh(upload);
  polling = false;
  if (uploads.length) soon(POLL);
  else if (!sending && !waiting.length) status.textContent = "All files are worked off.";
}

async function refresh(upload) {
  const ids = [...upload.ids].slice(0, 100);
  for (const id of ids) upload.ids.delete(id), upload.ids.add(id); // next time it is the others' turn
  const query = ids.map((id) => `id=${id}`).join("&");
  const response = await fetch(`${upload.progress}?${query}`).catch(() => null);
  if (response?.ok) show(await response.text(), upload);
  // Not the sent files alone: what comes out of an archive is work of the upload, too.
  const more = sending || upload.work || waiting.some(({ slug }) => slug === upload.slug);
  if (response?.status === 404 || (!upload.ids.size && !more)) uploads.splice(uploads.indexOf(upload), 1);
}

function show(html, upload) {
  const fragment = document.createElement("template");
  fragment.innerHTML = html; // rendered by our own server, which escapes what it did not write
  for (const part of fragment.content.querySelectorAll("[hx-swap-oob]")) {
    if (part.dataset.work) upload.work = Number(part.dataset.work);
    const shown = document.getElementById(part.id);
    if (!shown || shown.innerHTML === part.innerHTML) continue;
    const focused = document.activeElement?.id;
    shown.replaceWith(part);
    if (focused && part.querySelector(`#${focused}`)) document.getElementById(focused).focus();
    if (DONE.includes(part.dataset.state)) upload.ids.delete(part.id.replace("state-", ""));
  }
}

// The buttons of an upload act without leaving this page, from where files are still being sent.
document.querySelector("[data-wholes]")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const upload = uploads.find(({ whole }) => whole.contains(event.target));
  if (upload) note(upload, event.target.action);
  const body = new FormData(event.target);
  const response = await fetch(event.target.action, { method: "POST", body }).catch(() => null);
  const page = new DOMParser().parseFromString((await response?.text()) ?? "", "text/html");
  const said = page.querySelector(".messages .message")?.textContent;
  status.textContent = said ?? "That did not work. Load this page anew and try again.";
  if (upload) await refresh(upload);
  fill();
});

function note(upload, action) {
  upload.held = action.endsWith("/pause/");
  if (!action.endsWith("/cancel/")) return;
  upload.cancelled = true;
  for (const job of waiting.filter(({ slug }) => slug === upload.slug)) {
    waiting.splice(waiting.indexOf(job), 1);
    refused(job.row, "Cancelled before it was sent.");
  }
  unsent();
}

addEventListener("beforeunload", (event) => {
  if (sending || waiting.length) event.preventDefault(); // the browser asks whether to leave
});

// Files that were chosen before this script had come.
if (form) take([...form.querySelector("#files").files], form.querySelector("#files"));
