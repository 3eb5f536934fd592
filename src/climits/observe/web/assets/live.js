// Keeps the page up to date and adds the buttons. Text only ever becomes text, never markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SHOWN = 100;
let token = null;
let stream = null;      // what ends the one that is open
let pause = 1000;       // before it is opened again, milliseconds
let first = true;       // nothing has come yet: what is on the page is as it was loaded

// ---- the token: from the address to the memory of this tab, and from there into a header ----

function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", location.pathname);
    sessionStorage.setItem("token", found[1]);
  }
  return sessionStorage.getItem("token");
}

async function ask(path, fields) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${fields.token ?? token}` };
  delete fields.token;
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(fields) });
  } catch {
    return { ok: false, error: "the supervisor does not answer" };
  }
  return answer.json().catch(() => ({ ok: false, error: `the answer is ${answer.status}` }));
}

const said = (answer) => answer.hint ? `${answer.error}; hint: ${answer.hint}` : answer.error;

async function unlock(candidate) {
  const answer = await ask("token", { token: candidate });
  if (answer.ok) {
    sessionStorage.setItem("token", candidate);
    token = candidate;
    document.body.classList.add("holder");
    document.body.classList.remove("locked");
    $("unlock").textContent = "Lock actions";
    for (const row of $("rows").children) arm(row);
  }
  return answer;
}

function lock() {
  sessionStorage.removeItem("token");
  token = null;
  document.body.classList.remove("holder");
  $("unlock").textContent = "Unlock actions";
  for (const row of $("rows").children) row.querySelector(".does").replaceChildren();
}

// ---- rows and events ----

function duration(seconds) {  // as the page itself has it
  seconds = Math.max(Math.floor(seconds), 0);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60), rest = seconds % 60;
  const two = (n) => String(n).padStart(2, "0");
  return minutes < 60 ? `${minutes}m${two(rest)}s` : `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
}

function put(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

function fill(tr, row) {
  tr.dataset.name = row.name;
  tr.dataset.tone = row.tone;
  tr.stops = row.stops;
  tr.since = row.since;
  tr.limit = row.limit === "no limit" ? "max" : row.limit.replace(/^\w+ /, "");
  put(tr.querySelector(".name"), row.name);
  put(tr.querySelector(".state b"), row.state);
  put(tr.querySelector(".state small"), row.note);
  const meter = tr.querySelector("meter");
  meter.hidden = row.percent === null;
  meter.value = row.percent ?? 0;
  meter.setAttribute("aria-label", `memory of ${row.name}`);
  put(meter, `${row.percent ?? 0}%`);
  put(tr.querySelector(".memory b"), row.used);
  put(tr.querySelector(".memory small"), row.limit);
  put(tr.querySelector(".memory em"), row.percent === null ? "" : `${row.percent}%`);
  put(tr.querySelector(".peak"), row.peak);
  const oom = tr.querySelector(".oom");
  put(oom, row.oom_kills);
  oom.toggleAttribute("data-some", row.oom_kills > 0);
  const restarts = tr.querySelector(".restarts");
  put(restarts, row.restarts);
  restarts.toggleAttribute("data-some", row.restarts > 0);
  age(tr);
  arm(tr);
}

function age(tr) {
  put(tr.querySelector(".up"), tr.since ? duration(Date.now() / 1000 + skew - tr.since) : "");
}

function arm(tr) {
  if (!token || tr.stops === undefined) return;
  const cell = tr.querySelector(".does");
  const wanted = tr.stops ? ["Restart", "Stop", "Limit"] : ["Start", "Limit"];
  const there = [...cell.children].map((button) => button.dataset.does);
  if (there.join() === wanted.join()) return;
  const focused = cell.contains(document.activeElement);
  cell.replaceChildren(...wanted.map((does) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.does = does;
    button.textContent = does === "Limit" ? "Limit…" : does;
    button.setAttribute("aria-label", `${does === "Limit" ? "Set the limit of" : does} ${tr.dataset.name}`);
    return button;
  }));
  if (focused) cell.firstElementChild.focus();
}

function showEvents(events) {
  const made = events.map((event) => {
    const li = $("event").content.firstElementChild.cloneNode(true);
    li.dataset.tone = event.tone;
    const time = li.querySelector("time");
    time.dateTime = event.iso;
    time.title = event.iso;
    put(time, event.clock);
    put(li.querySelector("b"), event.program);
    put(li.querySelector("span"), event.text);
    return li;
  });
  $("log").prepend(...made.reverse());
  while ($("log").children.length > SHOWN) $("log").lastElementChild.remove();
  $("quiet").hidden = $("log").children.length > 0;
}

// For screen readers: what went wrong, and how much more there is, but not each line of a storm.
function announce(events) {
  const bad = events.filter((event) => event.tone !== "off");
  if (!bad.length) return;
  const last = bad.findLast((event) => event.tone === "bad") ?? bad.at(-1);
  const more = bad.length > 1 ? `; and ${bad.length - 1} more` : "";
  put($("news"), `${last.program}: ${last.text}${more}`);
}

let skew = 0;
const rowsByName = new Map();

function onAll(data) {
  const body = $("rows");
  const focused = document.activeElement?.closest?.("tr")?.dataset.name;
  const does = document.activeElement?.dataset?.does;
  for (const row of data.rows) {
    let tr = rowsByName.get(row.name);
    if (!tr) {
      tr = [...body.children].find((t) => t.dataset.name === row.name)
        ?? $("row").content.firstElementChild.cloneNode(true);
      rowsByName.set(row.name, tr);
    }
    fill(tr, row);
  }
  const wanted = data.rows.map((row) => rowsByName.get(row.name));
  if (wanted.length !== body.children.length || wanted.some((tr, i) => tr !== body.children[i]))
    body.replaceChildren(...wanted);
  for (const name of rowsByName.keys())
    if (!data.rows.some((row) => row.name === name)) rowsByName.delete(name);
  if (focused && does)
    rowsByName.get(focused)?.querySelector(`[data-does="${does}"]`)?.focus();
  $("log").replaceChildren();
  showEvents(data.events);
  document.body.classList.remove("locked");
}

function onNews(data) {
  for (const row of data.rows) {
    const tr = rowsByName.get(row.name);
    if (tr) fill(tr, row);
  }
  showEvents(data.events);
  announce(data.events);
}

function onMessage(kind, data) {
  if (kind === "end") {
    link("bad", "The supervisor has ended");
    pause = 10000;
    return;
  }
  skew = data.now - Date.now() / 1000;
  if (kind === "all") onAll(data); else onNews(data);
  if (data.host) {
    put($("host"), data.host);
    document.title = `climits on ${data.host}`;
  }
  put($("summary"), data.summary);
  link("good", "Live");
  pause = 1000;
  filter();
}

function filter() {
  const words = $("filter").querySelector("input").value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const tr of $("rows").children) {
    const text = `${tr.dataset.name} ${tr.querySelector(".state").textContent}`.toLowerCase();
    tr.hidden = !words.every((word) => text.includes(word));
    shown += !tr.hidden;
  }
  $("none").hidden = shown > 0 || document.body.classList.contains("locked");
}

// ---- the stream of server-sent events; by fetch, which can send the token ----

function link(tone, text) {
  $("link").className = tone;
  put($("link"), text);
}

async function follow() {
  if (stream || document.hidden) return;
  const mine = stream = new AbortController();
  let ended = false;
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch("live", { headers, signal: mine.signal });
    if (answer.status === 401 && token) lock();  // it was another supervisor's
    if (!answer.ok) throw await answer.json().catch(() => ({ error: `the answer is ${answer.status}` }));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const found = /^event: (\w+)\ndata: (.*)$/s.exec(part);
        if (found) onMessage(found[1], JSON.parse(found[2]));
        ended ||= found?.[1] === "end";
      }
    }
  } catch (error) {
    if (error.error) {
      link("bad", error.error);
      ended = true;
    }
  }
  if (stream !== mine) return;  // another has taken its place, or nobody looks
  stream = null;
  if (!ended) link("bad", "No connection");
  pause = Math.min(pause * 1.5, 10000);
  setTimeout(follow, pause);
}

function unfollow() {
  stream?.abort();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) unfollow(); else follow();  // nobody looks: the supervisor may sleep
});

// ---- dialogs ----

function dialog({ title, text, label, value, help, yes, secret, act }) {
  const box = $("ask"), field = $("ask-value");
  put($("ask-title"), title);
  put($("ask-text"), text ?? "");
  $("ask-text").hidden = !text;
  $("ask-field").hidden = !label;
  put($("ask-label"), label ?? "");
  put($("ask-help"), help ?? "");
  field.type = secret ? "password" : "text";
  field.value = value ?? "";
  field.removeAttribute("aria-invalid");
  put($("ask-error"), "");
  put($("ask-yes"), yes);
  box.showModal();
  if (label) { field.focus(); field.select(); } else $("ask-no").focus();
  box.act = async () => {
    put($("ask-error"), "");
    field.removeAttribute("aria-invalid");
    $("ask-yes").disabled = true;
    const answer = await act(field.value);
    $("ask-yes").disabled = false;
    if (answer.ok) return box.close();
    put($("ask-error"), said(answer));
    if (label) { field.setAttribute("aria-invalid", "true"); field.focus(); }
  };
}

$("ask").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("ask").act();
});
$("ask-no").addEventListener("click", () => $("ask").close());

let noticed;
function notice(answer) {
  put($("notice"), answer.ok ? answer.text : said(answer));
  $("notice").hidden = false;
  $("notice").className = answer.ok ? "notice" : "notice bad";
  clearTimeout(noticed);
  noticed = setTimeout(() => { $("notice").hidden = true; }, 8000);
  return answer;
}

async function perform(action, program, memory) {
  const answer = await ask(`do/${action}`, memory === undefined ? { program } : { program, memory });
  if (answer.ok) notice(answer);
  return answer;
}

const DOES = {
  Start: (program) => perform("start", program).then((answer) => { if (!answer.ok) notice(answer); }),
  Restart: (program) => dialog({
    title: `Restart ${program}?`, yes: "Restart",
    text: "It is asked to end, killed if it does not in time, and started again.",
    act: () => perform("restart", program),
  }),
  Stop: (program) => dialog({
    title: `Stop ${program}?`, yes: "Stop",
    text: "It is asked to end, killed if it does not in time, and not started again.",
    act: () => perform("stop", program),
  }),
  Limit: (program, tr) => dialog({
    title: `Memory limit of ${program}`, yes: "Set limit", label: "New limit", value: tr.limit,
    help: "Like 60M or 1.5G; max is no limit. It holds for this run and those to come.",
    act: (value) => perform("set-limit", program, value),
  }),
};

$("rows").addEventListener("click", (event) => {
  const does = event.target.dataset?.does, tr = event.target.closest("tr");
  if (does) DOES[does](tr.dataset.name, tr);
});

$("unlock").addEventListener("click", () => {
  if (token) {
    lock();
    unfollow();
    follow();
    return;
  }
  dialog({
    title: "Unlock actions", yes: "Unlock", label: "Token", secret: true,
    help: "It is printed when climits supervise starts. This tab keeps it until it is closed.",
    act: async (value) => {
      const answer = await unlock(value.trim());
      if (answer.ok) { unfollow(); follow(); }
      return answer;
    },
  });
});

$("filter").addEventListener("input", filter);
addEventListener("hashchange", start);
setInterval(() => { if (stream) for (const tr of rowsByName.values()) age(tr); }, 1000);

async function start() {
  const kept = takeToken();
  $("unlock").hidden = $("filter").hidden = false;
  $("unlock").textContent = "Unlock actions";
  if (kept) {
    const answer = await unlock(kept);
    if (!answer.ok) {
      sessionStorage.removeItem("token");
      notice(answer);
    }
  }
  unfollow();
  follow();
}

start();
