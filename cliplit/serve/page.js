"use strict";
{% include "divider.js" %}

const MAX_BYTES = {{ max_bytes }}, SIZE = "{{ size }}";
const VIEWABLE = ["image/jpeg", "image/png", "image/webp", "image/avif", "image/bmp"];
const byId = id => document.getElementById(id);
const drop = document.querySelector(".drop"), file = byId("file"), strength = byId("strength"), message = byId("status");
let photo = null, running = null, waiting = 0;

follow(document.querySelector(".compare"));

function say(text, bad = false) {
  message.textContent = text;
  message.classList.toggle("bad", bad);
}

async function ask(options, signal) {
  const query = new URLSearchParams(options);
  for (let tries = 0; ; tries++) {
    const answer = await fetch("enhance?" + query, { method: "POST", body: photo, signal,
      headers: { "Content-Type": "application/octet-stream" } });
    if (answer.ok) return answer;
    if (answer.status === 503 && tries < 5) {
      say("The server is busy; waiting for a free place …");
      await new Promise(done => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 2)));
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || "the server answered " + answer.status);
  }
}

function show(image, blob) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  return image.decode();
}

function complain(error) {
  if (error.name !== "AbortError") say("Not relit: " + (error instanceof TypeError ? "the server does not answer" : error.message) + ".", true);
}

async function relight(fresh) {
  if (!photo) return;
  if (running) running.abort();
  const mine = running = new AbortController();
  const options = VIEWABLE.includes(photo.type) ? {} : { format: "jpeg" };
  document.body.classList.add("busy");
  say("Relighting …");
  try {
    const answer = await ask({ strength: strength.value, ...options }, mine.signal);
    const blob = await answer.blob();
    if (fresh) {
      const before = options.format ? await (await ask({ strength: 0, ...options }, mine.signal)).blob() : photo;
      await show(byId("before"), before);
    }
    await show(byId("after"), blob);
    byId("result").hidden = false;
    drop.classList.add("small");
    const stem = (photo.name || "photo").replace(/\.[^.]*$/, ""), ending = (blob.type.split("/")[1] || "jpeg").replace("jpeg", "jpg");
    byId("save").href = byId("after").src;
    byId("save").download = stem + "-relit." + ending;
    byId("model").textContent = "Relit by model " + answer.headers.get("Cliplit-Model") + ".";
    say("Done. Drag the divider, or focus it and use the arrow keys.");
  } catch (error) {
    complain(error.name === "EncodingError" ? new Error("this browser cannot show that photo") : error);
  } finally {
    if (running === mine) document.body.classList.remove("busy");
  }
}

function take(found) {
  if (!found) return;
  if (found.size > MAX_BYTES) return say("Not relit: the photo is larger than " + SIZE + ".", true);
  photo = found;
  byId("result").hidden = true;
  relight(true);
}

file.addEventListener("change", () => { take(file.files[0]); file.value = ""; });
strength.addEventListener("input", () => {
  byId("shown").textContent = Number(strength.value).toFixed(2);
  clearTimeout(waiting);
  waiting = setTimeout(() => relight(false), 250);
});
addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", event => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]); });
addEventListener("paste", event => take(event.clipboardData.files[0]));
