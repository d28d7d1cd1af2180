// Walks through the pages where people sign in, with a browser that has an authenticator of its own (Chromium's).
// Usage: node walk.mjs <folder with node_modules> <chromium> <origin> <invitation> <another invitation> <code of a program> [folder for pictures]
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, executablePath, origin, invitation, another, code, pictures] = process.argv.slice(2);
const { chromium } = (await import(pathToFileURL(join(folder, 'node_modules/playwright-core/index.js')))).default;

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: { width: 390, height: 800 } });
const page = await context.newPage();
// Other tests, and a build, may have the machine meanwhile.
page.setDefaultTimeout(60_000);
const wrong = [];
page.on('pageerror', (error) => wrong.push(`${error}`));
// What the platform refuses is shown by the pages; what the browser itself refuses is a mistake of theirs.
page.on('console', (said) => said.type() === 'error' && !said.text().startsWith('Failed to load resource') && wrong.push(said.text()));
page.on('dialog', (dialog) => dialog.accept(dialog.type() === 'prompt' ? 'telephone' : undefined));

const devtools = await context.newCDPSession(page);
await devtools.send('WebAuthn.enable');
const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options });

const click = (name) => page.getByRole('button', { name, exact: true }).click();
const titled = async (name) => {
  try {
    await page.getByRole('heading', { level: 1, name }).waitFor();
  } catch (error) {
    throw new Error(`${error.message}\nthe page says: ${await page.locator('main').innerText()}\n${wrong.join('\n')}`);
  }
};
const alerted = async () => page.getByRole('alert').locator('p').textContent();
const picture = async (name) => {
  if (!pictures) return;
  for (const [size, width] of [['phone', 390], ['desktop', 1280]]) {
    await page.setViewportSize({ width, height: 800 });
    await page.screenshot({ path: join(pictures, `${name}-${size}.png`), fullPage: true });
  }
};

// An invitation is taken by a passkey.
await page.goto(`${origin}/auth/invitation#${encodeURIComponent(invitation)}`);
await titled('Welcome, ada');
await picture('invitation');
await click('Use a passkey');
await titled('Recovery codes');
await picture('recovery-codes');
assert.equal(await page.locator('.codes li').count(), 10);
assert.equal(new URL(page.url()).hash, '', 'what was taken is in no history');
await click('I have kept them');
await titled('ada');
await picture('account');

// It signs in again, by itself.
await click('Sign out');
await titled('Sign in');
await picture('sign-in');
await click('Sign in by a passkey');
await titled('ada');

// A password beside it, after one that is too weak.
const password = async (text) => {
  await page.getByLabel('New password').fill(text);
  await click('Set one');
};
await password('short');
assert.match(await alerted(), /12 letters/);
await picture('refused');
await password('correct horse battery');
await page.getByRole('button', { name: 'Change it' }).waitFor();
await click('Rename passkey');
await page.getByText('telephone').waitFor();

// A program is let in by whoever signs in on the way.
await click('Sign out');
await titled('Sign in');
await page.goto(`${origin}/auth/device#${code}`);
await titled('Sign in');
await page.getByLabel('Name').fill('ada');
await page.getByLabel('Password').fill('wrong horse battery');
await click('Sign in');
assert.match(await alerted(), /not right/);
await page.getByLabel('Password').fill('correct horse battery');
await click('Sign in');
await titled('Let a program in?');
await picture('device');
await click('Let it in');
await titled('It is let in');

// What another device has not, signs nobody in; a return leads nowhere else.
await page.goto(`${origin}/auth/account`);
await click('Remove telephone');
await page.getByRole('button', { name: 'Remove telephone' }).waitFor({ state: 'detached' });
await click('Sign out');
await titled('Sign in');
await click('Sign in by a passkey');
assert.match(await alerted(), /not known here/);
const elsewhere = ['https://evil.example/', '//evil.example', '/\\evil.example', '/.//evil.example', '/a/..//evil.example', '/x/../auth/v1/providers/id', '/auth/v%31/session'];
for (const place of elsewhere) {
  await page.goto(`${origin}/auth/sign-in?return=${encodeURIComponent(place)}`);
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password').fill('correct horse battery');
  await click('Sign in');
  await titled('ada');
  assert.equal(page.url(), `${origin}/auth/account`, place);
}

// What a browser without an authenticator can do, by the keyboard alone.
await devtools.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
await click('Sign out');
await titled('Sign in');
await page.goto(`${origin}/auth/invitation#${encodeURIComponent(another)}`);
await titled('Welcome, bob');
await page.getByLabel('Password').focus();
await page.keyboard.type('the horse of bob');
await page.keyboard.press('Enter');
await titled('Recovery codes');
await page.goto(`${origin}/auth/invitation#${encodeURIComponent(another)}`);
await page.reload();
await page.getByText('it was taken').waitFor();

assert.deepEqual(wrong, []);
await browser.close();
console.log('walked');
