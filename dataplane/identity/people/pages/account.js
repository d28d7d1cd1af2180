// One's own account: how one signs in, and where one has.
import { ask, askConfirmed, sessionOrSignIn } from "./ask.js";
import { button, element, field, form, show, time } from "./elements.js";
import { codes } from "./invitation.js";
import { create, hasPasskeys } from "./passkeys.js";

export async function account() {
  const session = await sessionOrSignIn();
  if (!session) return;
  const [passkeys, sessions, recovery, links, providers] = await Promise.all(
    ["passkeys", "sessions", "recovery-codes", "links", "providers"].map((path) => ask("GET", path)),
  );
  show(
    session.user,
    element("p", {}, session.admin ? "You are an administrator here." : "", button("Sign out", signOut)),
    section("Passkeys", passkeys.items.map(passkey), hasPasskeys() ? button("Add a passkey", addPasskey) : undefined),
    section("Password", [], password(session, recovery)),
    section("Recovery codes", [], element("p", {}, `${recovery.codesLeft} are left.`), button("Draw new ones", drawCodes)),
    providers.length ? section("Other providers", links.map(link), providers.map(toLink)) : undefined,
    section("Where you have signed in", sessions.items.map(place), button("End all others", endOthers)),
  );
}

const section = (title, rows, ...more) =>
  element("section", {}, element("h2", {}, title), rows.length ? element("ul", { class: "rows" }, rows) : undefined, ...more);

const row = (title, details, ...buttons) => element("li", {}, element("div", { class: "what" }, title, element("small", {}, details)), element("div", { class: "do" }, buttons));

async function signOut() {
  await ask("DELETE", "session");
  location.assign("/auth/sign-in");
}

async function again(work) {
  await work;
  await account();
}

function passkey({ id, name, since, usedAt, synced }) {
  const path = `passkeys/${encodeURIComponent(id)}`;
  const rename = async () => {
    const called = prompt("What it is called", name);
    if (called) await again(ask("PATCH", path, { name: called }));
  };
  const remove = () => confirm(`Remove ${name}?`) && again(askConfirmed("DELETE", path));
  const details = `since ${time(since)}, last used ${time(usedAt)}, ${synced ? "on several devices" : "on one device"}`;
  return row(name, details, button("Rename", rename, "", `Rename ${name}`), button("Remove", remove, "", `Remove ${name}`));
}

async function addPasskey() {
  const name = prompt("What it is called, to tell it from others", "passkey");
  if (name === null) return;
  const { ceremony, publicKey } = await askConfirmed("POST", "passkeys/options");
  const credential = await create(publicKey);
  await again(ask("POST", "passkeys", { ceremony, credential, name }));
}

function password(session, { hasPassword }) {
  const fields = [
    element("input", { type: "hidden", name: "user", autocomplete: "username", value: session.user }),
    hasPassword ? field("The one until now", { name: "current", type: "password", autocomplete: "current-password" }) : [],
    field("New password", { name: "new", type: "password", autocomplete: "new-password" }),
  ];
  const change = async (typed) => {
    await (hasPassword ? ask : askConfirmed)("PUT", "password", { current: typed.current, new: typed.new });
    await account();
  };
  const remove = () => confirm("Do without a password?") && again(askConfirmed("DELETE", "password"));
  return [form(hasPassword ? "Change it" : "Set one", fields, change, ""), hasPassword ? button("Do without", remove) : undefined];
}

async function drawCodes() {
  const { codes: all } = await askConfirmed("POST", "recovery-codes");
  codes(all, account);
}

const link = ({ id, provider, since }) =>
  row(
    provider,
    `since ${time(since)}`,
    button("Forget", () => again(askConfirmed("DELETE", `links/${encodeURIComponent(id)}`)), "", `Forget ${provider}`),
  );

const toLink = ({ name, title }) =>
  button(`Link ${title}`, async () => {
    const { location: place } = await askConfirmed("POST", "links", { provider: name, return: "/auth/account" });
    location.assign(place);
  });

function place({ id, way, beganAt, address, client, isThis }) {
  const end = () => again(ask("DELETE", `sessions/${encodeURIComponent(id)}`));
  const details = `${way}, ${time(beganAt)}, from ${address ?? "an unknown address"}`;
  return row(isThis ? `${client} (here)` : client, details, isThis ? [] : button("End", end, "", `End ${client} of ${time(beganAt)}`));
}

async function endOthers() {
  if (confirm("End all other sessions?")) await again(ask("DELETE", "sessions"));
}
