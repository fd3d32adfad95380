// Chromium, driven by a test step by step: several people, each with a browser of their own (cookies, storage, one page). What
// they do is in `browser/`; when a step fails, every page's picture is left in SHOTS.
import { existsSync, mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { attacks } from './browser/attacks.mjs'
import { markup } from './browser/markup.mjs'
import { story } from './browser/story.mjs'
import { serve } from './steps.mjs'

const shots = process.env.SHOTS ?? '.'
const names = ['chromium', 'chromium-browser', 'google-chrome']
const folders = (process.env.PATH ?? '').split(':')
const program = names.flatMap((name) => folders.map((folder) => `${folder}/${name}`)).find((path) => existsSync(path))
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? program ?? 'chromium is not installed: `scripts/setup.sh test` does it',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})

const people = new Map()

// The page of a person, made when it is first asked for.
async function person(who, options = {}) {
  if (!people.has(who)) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options })
    context.setDefaultTimeout(20_000)
    const page = await context.newPage()
    const said = []
    page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => said.push(`uncaught: ${error.message}`))
    people.set(who, { who, context, page, said })
  }
  return people.get(who)
}

async function picture(page, name) {
  mkdirSync(shots, { recursive: true })
  const path = `${shots}/${name}.png`
  await page.screenshot({ path, fullPage: true, animations: 'disabled' })
  return path
}

const steps = {
  // Signs in on the pages of FTGO's identity provider; where the browser is then.
  async signIn({ who, origin, subject, returnUrl, ...options }) {
    const { page } = await person(who, options)
    await page.goto(`${origin}/bff/login?returnUrl=${encodeURIComponent(returnUrl)}`)
    await page.locator(`button[name=sub][value=${subject}]`).click()
    await page.waitForURL((url) => url.origin === origin && !url.pathname.startsWith('/bff/callback'))
    return page.url()
  },

  // Signs in on the pages of oidc-provider: a name, then consent; the way that the browser took, by host and path.
  async signInElsewhere({ who, origin, name, returnUrl }) {
    const { page, context } = await person(who)
    const way = []
    page.on('framenavigated', (frame) => frame === page.mainFrame() && way.push(frame.url()))
    await page.goto(`${origin}/bff/login?returnUrl=${encodeURIComponent(returnUrl)}`)
    await page.locator('input[name=login]').fill(name)
    await page.locator('input[name=password]').fill('anything')
    await page.locator('button[type=submit]').click()
    await page.locator('button[type=submit]', { hasText: 'Continue' }).click()
    await page.waitForURL((url) => url.origin === origin)
    const cookies = await context.cookies()
    return {
      url: page.url(),
      way,
      cookies: cookies.map(({ name, domain, httpOnly, secure, sameSite }) => ({ name, domain, httpOnly, secure, sameSite })),
      scripts: await page.evaluate(() => document.cookie),
    }
  },

  async go({ who, url, ...options }) {
    const { page } = await person(who, options)
    const response = await page.goto(url)
    return { status: response.status(), url: page.url(), text: await page.locator('body').innerText() }
  },

  async picture({ who, name }) {
    return picture((await person(who)).page, name)
  },

  async said({ who }) {
    return (await person(who)).said
  },
}

serve(
  { ...steps, ...attacks(person), ...markup(person), ...story(person, picture) },
  {
    async failed(step) {
      const left = []
      for (const { who, page, said } of people.values()) {
        left.push(`${who} at ${page.url()}: ${await picture(page, `failed-${step}-${who}`)}\n  ${said.slice(-20).join('\n  ')}`)
      }
      return left.join('\n')
    },
    end: () => browser.close(),
  },
)
