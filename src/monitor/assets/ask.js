// Asking the gateway. The token, where one is asked for, lives in this tab's sessionStorage and is sent as a bearer token.

import { at, put } from "./table.js";

const TOKEN = "hotgate-token";

export const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

export async function ask(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.status !== 401) return response;
    await askToken(token !== null && token === sessionStorage.getItem(TOKEN));
  }
}

let asking = null;

// Asks once, however many requests were refused meanwhile.
function askToken(wrong) {
  asking ??= new Promise(resolve => {
    put("token-fault", wrong ? "That token is not the right one." : "");
    at("token").value = "";
    at("token-dialog").showModal();
    at("token-form").onsubmit = event => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, at("token").value);
      at("token-dialog").close();
      asking = null;
      resolve();
    };
    at("token-dialog").oncancel = event => event.preventDefault();
  });
  return asking;
}

// What is at a path; an answer that is none is an error.
export async function get(path, options) {
  const answer = await ask(path, options);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// What the gateway answered to a change, or as `fault` why it was not done.
export async function post(path, change) {
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change) };
    const response = await ask(path, options);
    const answer = await response.json();
    return response.ok ? answer : { fault: answer.error };
  } catch {
    return { fault: "The gateway did not answer; look at how it stands before trying again." };
  }
}
