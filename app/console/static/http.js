// Requests to the console's own endpoints: with the CSRF token, and with errors as sentences.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

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
    throw new Refused("The service cannot be reached; check the connection and try again.", "unreachable");
  }
  if (response.status === 401) {
    location.href = `${meta("sign-in")}?next=${encodeURIComponent(location.pathname + location.search)}`;
    throw new Refused("Your session is over; sign in again.", "sign_in_required");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = answer.error ?? {};
  throw new Refused(error.message ?? `The service answered with an error (${response.status}).`, error.code, error.details);
}
