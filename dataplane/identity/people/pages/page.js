// Which page this is.
import { account } from "./account.js";
import { device } from "./device.js";
import { invitation } from "./invitation.js";
import { alerting } from "./elements.js";
import { signIn } from "./sign-in.js";

const pages = { "/auth/invitation": invitation, "/auth/device": device, "/auth/sign-in": signIn };
const page = pages[location.pathname] ?? account;
alerting(page)();
// What is after the # changes without the page being loaded anew.
addEventListener("hashchange", alerting(page));
