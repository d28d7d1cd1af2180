// The API of signing in, as docs/people.md has it.
import { confirmed } from "./elements.js";

/** Why something was not done: a problem as RFC 9457 has it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the platform answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

/** Asks for something, and gives what is answered. */
export async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  let response;
  try {
    response = await fetch(`/auth/v1/${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("the platform cannot be reached: try again");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

/** Does what only somebody does who has just signed in, or says their password. */
export async function askConfirmed(method, path, body = {}) {
  try {
    return await ask(method, path, body);
  } catch (error) {
    if (error.code !== "SignInAgain") throw error;
    const { hasPassword } = await ask("GET", "recovery-codes");
    const current = await confirmed(hasPassword, () => goToSignIn(true));
    if (current === undefined) throw new Error("nothing was changed");
    return ask(method, path, { ...body, current });
  }
}

/** The session that somebody has; nothing where they have none, who is led to where one signs in. */
export async function sessionOrSignIn() {
  try {
    return await ask("GET", "session");
  } catch (error) {
    if (error.status !== 401) throw error;
    goToSignIn();
  }
}

/** Leads to where one signs in, and back here then; with `again`, also who is still known elsewhere shows who they are. */
export function goToSignIn(again = false) {
  const here = location.pathname + location.search + location.hash;
  location.assign(`/auth/sign-in?${again ? "again=true&" : ""}return=${encodeURIComponent(here)}`);
}

/** Where one is to go then: a place of this host where pages are, whatever a link says. */
export function returnPlace() {
  const wanted = new URLSearchParams(location.search).get("return") ?? "";
  try {
    const place = new URL(wanted, location.origin);
    const path = decodeURI(place.pathname);
    const leadsBack = path === "/auth/v1" || path.startsWith("/auth/v1/");
    const isHere = /^\/(?![/\\])/.test(wanted) && place.origin === location.origin && !path.startsWith("//");
    if (isHere && !leadsBack) return place.pathname + place.search + place.hash;
  } catch {
    // It is none.
  }
  return "/auth/account";
}
