// Requests to the console's own endpoints: with the CSRF token, and with errors as sentences.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

const UNREACHABLE = "The service cannot be reached; check the connection and try again.";

export class Refused extends Error {
  constructor(message, code, details) {
    super(message);
    this.code = code;
    this.details = details ?? {};
  }
}

// Sends a form; the answer's JSON, or a Refused with the sentence of the service's error.
export async function post(url, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  let response;
  try {
    response = await fetch(url, { method: "POST", body, headers: { "X-CSRFToken": meta("csrf-token") } });
  } catch {
    throw new Refused(UNREACHABLE, "unreachable");
  }
  return outcome(response.status, await response.json().catch(() => ({})));
}

// Sends a file as it is, telling how much of it is through (0 to 1); otherwise as `post`. `fetch` could not tell.
export function send(url, file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.setRequestHeader("X-CSRFToken", meta("csrf-token"));
    request.setRequestHeader("Content-Type", file.type.startsWith("video/") ? file.type : "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onProgress(event.total ? event.loaded / event.total : 0));
    request.addEventListener("load", () => {
      try { resolve(outcome(request.status, request.response ?? {})); } catch (error) { reject(error); }
    });
    request.addEventListener("error", () => reject(new Refused(UNREACHABLE, "unreachable")));
    request.addEventListener("abort", () => reject(new Refused("It was not sent.", "stopped")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function outcome(status, answer) {
  if (status === 401) {
    location.href = `${meta("sign-in")}?next=${encodeURIComponent(location.pathname + location.search)}`;
    throw new Refused("Your session is over; sign in again.", "sign_in_required");
  }
  if (status < 400) return answer;
  const error = answer.error ?? {};
  throw new Refused(error.message ?? `The service answered with an error (${status}).`, error.code, error.details);
}
