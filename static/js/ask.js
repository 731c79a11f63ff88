// Asks without leaving the page: streams the answer, can be stopped, and ends at the answer's own address.

import { Draft } from "./draft.js";
import { events } from "./events.js";

const form = document.querySelector("[data-ask]");
const box = form.querySelector("textarea");
const stop = form.querySelector("[data-stop]");
const place = document.querySelector("[data-reply]");
const status = document.querySelector("[data-announce]");
let running = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

stop.addEventListener("click", () => {
  running?.abort();
  box.focus();
});

async function ask() {
  running?.abort();
  const mine = (running = new AbortController());
  const draft = begin();
  try {
    const response = await fetch(form.dataset.stream, {
      method: "POST",
      body: new FormData(form),
      headers: { Accept: "text/event-stream" },
      signal: mine.signal,
    });
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      form.submit(); // signed out, or the form is too old: the server's own page says it best
      return;
    }
    await follow(response, draft);
  } catch (error) {
    if (mine.signal.aborted) end(draft, "Stopped.");
    else fail(draft, "The connection to the server was lost. Ask again in a moment.");
  } finally {
    if (running === mine) {
      running = null;
      stop.hidden = true;
    }
  }
}

function begin() {
  for (const part of document.querySelectorAll("[data-before-asking]")) part.hidden = true;
  document.getElementById("problem")?.remove();
  status.textContent = "";
  stop.hidden = false;
  return new Draft(place, box.value.trim());
}

async function follow(response, draft) {
  let finished = false;
  for await (const { name, data } of events(response)) {
    if (name === "started") started(draft, data);
    else if (name === "cited") draft.cite(data);
    else if (name === "delta") draft.add(data.text);
    else if (name === "problem") fail(draft, data.message);
    else if (name === "completed") complete(draft, data);
    finished ||= name === "completed" || name === "problem";
  }
  if (!finished) fail(draft, "The answer broke off: the server closed the connection. Ask again in a moment.");
}

function started(draft, data) {
  draft.say(data.passages ? "Writing…" : "");
  if (data.degraded) draft.warn(data.degraded);
}

function complete(draft, data) {
  draft.finish(data.html);
  history.replaceState(null, "", data.url);
  status.textContent = announced(data);
  if (data.state !== "failed") box.value = "";
}

function announced(data) {
  if (data.state === "declined") return "The documents do not answer this.";
  if (data.state === "failed") return "The answer failed.";
  return `The answer is there, with ${data.sources} ${data.sources === 1 ? "source" : "sources"}.`;
}

function fail(draft, message) {
  draft.warn(message);
  end(draft, "");
  status.textContent = message;
}

function end(draft, words) {
  draft.stop(words);
  status.textContent = words;
}
