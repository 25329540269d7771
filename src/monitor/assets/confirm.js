// The dialog before a change: what is changed, what comes of it, and why, for the list of changes. Nothing is changed by one click.

import { at, put } from "./table.js";

// `send` gets what was filled in (`name`, `limit`, `reason`) and gives why it was not done, or nothing. `name` is asked for where it is a text,
// `limit` where it is not undefined.
export function confirm({ title, key = "", text, verb, name, limit, send }) {
  put("change-title", title);
  put("change-key", key);
  put("change-text", text);
  put("change-do", verb);
  put("change-fault", "");
  at("change-key").hidden = key === "";
  field("name", name);
  field("limit", limit);
  at("change-reason").value = "";
  at("change-do").disabled = false;
  at("change-dialog").showModal();
  at("change-cancel").onclick = () => at("change-dialog").close();
  at("change-form").onsubmit = async event => {
    event.preventDefault();
    at("change-do").disabled = true;
    const fault = await send({ name: at("change-name").value, limit: Number(at("change-limit").value), reason: at("change-reason").value.trim() });
    at("change-do").disabled = false;
    if (fault) put("change-fault", fault); else at("change-dialog").close();
  };
}

function field(id, value) {
  at(`change-${id}-label`).hidden = value === undefined;
  at(`change-${id}`).required = value !== undefined;
  at(`change-${id}`).value = value ?? "";
}
