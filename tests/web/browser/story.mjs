// What people do in the storefront. A step fails when the page does not become what it should.

// What the narrowest phones have, and something to type on.
const SIZES = [
  { name: 'desktop', width: 1280, height: 800 },
  { name: 'phone', width: 390, height: 844 },
]

const visible = (locator) => locator.waitFor({ state: 'visible' })

function must(holds, message) {
  if (!holds) throw new Error(message)
}

// Goes on from where the focus is until `wanted` has it, as somebody does who has no mouse.
async function tabTo(page, wanted, most = 60) {
  await visible(wanted)
  for (let turn = 0; turn < most; turn += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`the keyboard does not reach ${wanted} in ${most} steps`)
}

export const story = (person, picture) => {
  // By mouse, or by the keyboard alone.
  const use = async ({ page, keyboard }, wanted) => {
    if (!keyboard) return wanted.click()
    await tabTo(page, wanted)
    await page.keyboard.press('Enter')
  }

  // Both widths, nothing cut off at the side; then the width that the person has.
  const look = async ({ page, who }, name) => {
    const before = page.viewportSize()
    for (const { name: size, width, height } of SIZES) {
      await page.setViewportSize({ width, height })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      await picture(page, `${who}-${name}-${size}`)
      must(wide <= width, `${name} is ${wide} wide, of ${width}`)
    }
    await page.setViewportSize(before)
  }

  const heading = (page, name) => visible(page.getByRole('heading', { level: 1, name }))

  const steps = {
    // From the list of restaurants to an order that is placed: `count` of the first dish.
    async order({ who, origin, count = 5, keyboard = false, restaurant, street, pictures = false }) {
      const { page } = await person(who)
      const me = { page, who, keyboard }
      const shown = async (name) => pictures && look(me, name)
      await page.goto(`${origin}/`)
      const link = page.locator(restaurant ? `a[data-restaurant="${restaurant}"]` : 'a[data-restaurant]').first()
      await visible(link)
      const chosen = await link.getAttribute('data-restaurant')
      await shown('restaurants')
      await use(me, link)
      await page.waitForURL(`**/restaurants/${chosen}`)
      const item = page.locator('main li[data-item]').first()
      await use(me, item.getByRole('button', { name: /^Add / }))
      for (let more = 1; more < count; more += 1) await use(me, item.getByRole('button', { name: /^One more / }))
      await visible(page.getByRole('link', { name: `Cart, ${count} items` }))
      await shown('restaurant')
      await use(me, page.getByRole('link', { name: 'Go to checkout' }))
      await heading(page, 'Checkout')
      if (street) await page.getByLabel('Street').fill(street)
      await shown('checkout')
      const place = page.getByRole('button', { name: 'Place order' })
      await use(me, place)
      await page.waitForURL('**/orders/*')
      await heading(page, /^Order from /)
      // Whoever reloads the page loses this.
      await page.evaluate(() => (globalThis.untouched = true))
      return { order: new URL(page.url()).pathname.split('/').pop(), restaurant: chosen }
    },

    // The order that is on the page comes to `step` by itself.
    async follows({ who, step, pictures = false }) {
      const { page } = await person(who)
      await visible(page.locator(`li[data-step="${step}"][aria-current="step"]`))
      must(await page.evaluate(() => globalThis.untouched), 'the page was loaded anew')
      if (pictures) await look({ page, who }, `order-${step}`)
      return page.locator('[data-live]').getAttribute('data-live')
    },

    async live({ who }) {
      await visible((await person(who)).page.locator('[data-live="live"]'))
    },

    // A ticket appears in the kitchen, in its column.
    async ticket({ who, order, state, pictures = false }) {
      const { page } = await person(who)
      const ticket = page.locator(`article[data-ticket="${order}"][data-state="${state}"]`)
      await visible(ticket)
      // Only what is new comes in: what a cook has moved must not go away for a moment.
      const moving = await ticket.evaluate((element) => element.getAnimations().length)
      must(state === 'AWAITING_ACCEPTANCE' || moving === 0, `a ticket comes in again as ${state}`)
      if (pictures) await look({ page, who }, `kitchen-${state.toLowerCase()}`)
      return ticket.innerText()
    },

    // Somebody of the staff presses what is next for a ticket.
    async moves({ who, order, button, keyboard = false }) {
      const { page } = await person(who)
      await use({ page, keyboard }, page.locator(`article[data-ticket="${order}"]`).getByRole('button', { name: button }))
    },

    // One more of the first dish, while nobody cooks yet; so many the page then says, and that the order stands.
    async revises({ who }) {
      const { page } = await person(who)
      const receipt = page.getByRole('region', { name: 'Your order', exact: true })
      const line = receipt.locator('li[data-item]').first()
      const before = Number.parseInt(await line.innerText())
      await receipt.getByRole('button', { name: 'Change order' }).click()
      await line.getByRole('button', { name: /^One more / }).click()
      await look({ page, who }, 'revise')
      await receipt.getByRole('button', { name: 'Send change' }).click()
      await visible(line.getByText(`${before + 1} × `))
      await visible(page.locator('[data-order-state="APPROVED"]'))
      must(await page.evaluate(() => globalThis.untouched), 'the page was loaded anew')
      return before + 1
    },

    // A ticket that is on the board says so many.
    async ticketSays({ who, order, count }) {
      const { page } = await person(who)
      await visible(page.locator(`article[data-ticket="${order}"] li`).filter({ hasText: new RegExp(`^${count} `) }))
    },

    async cancels({ who }) {
      const { page } = await person(who)
      await page.getByRole('button', { name: 'Cancel order' }).click()
      await visible(page.getByRole('dialog'))
      await look({ page, who }, 'cancel')
      await page.keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
      await page.getByRole('button', { name: 'Cancel order' }).click()
      await page.getByRole('button', { name: 'Cancel the order' }).click()
      await visible(page.locator('[data-order-state="CANCELLED"]'))
    },

    // What the page says of a part that cannot be had; the rest of it is there.
    async part({ who, name, there = [], pictures = false }) {
      const { page } = await person(who)
      await page.reload()
      const failed = page.getByRole('region', { name, exact: true }).getByRole('alert')
      await visible(failed)
      for (const other of there) {
        const region = page.getByRole('region', { name: other, exact: true })
        await visible(region)
        must((await region.getByRole('alert').count()) === 0, `${other} is not there either`)
      }
      if (pictures) await look({ page, who }, `without-${name.toLowerCase()}`)
      return failed.innerText()
    },

    // And it is there again, when the button is pressed.
    async again({ who, name }) {
      const { page } = await person(who)
      const region = page.getByRole('region', { name, exact: true })
      for (let tries = 0; tries < 40; tries += 1) {
        const button = region.getByRole('button', { name: 'Try again' })
        if ((await button.count()) === 0) return region.innerText()
        await button.click().catch(() => {})
        await page.waitForTimeout(250)
      }
      throw new Error(`${name} does not come back`)
    },

    // A view whose whole content cannot be had.
    async failure({ who, url }) {
      const { page } = await person(who)
      await page.goto(url)
      const failed = page.getByRole('main').getByRole('alert').first()
      await visible(failed)
      await look({ page, who }, `failed${new URL(url).pathname.replaceAll('/', '-')}`)
      return failed.innerText()
    },

    async takesOne({ who, url }) {
      const { page } = await person(who)
      await page.goto(url)
      await page.getByRole('button', { name: /^Add / }).first().click()
      await page.evaluate(() => (globalThis.untouched = true))
    },

    // The session ends without the page's doing, as when somebody signs out in another tab.
    async endsElsewhere({ who, origin }) {
      const { context } = await person(who)
      const ended = await context.request.post(`${origin}/bff/logout`, { headers: { origin, 'x-csrf': '1' } })
      must(ended.ok(), `logout: ${ended.status()}`)
    },

    // Somebody whose session has ended in the meantime goes on, is told, signs in again and has kept the cart.
    async signsInAgain({ who, subject }) {
      const { page } = await person(who)
      await page.getByRole('link', { name: 'Orders' }).click()
      const told = page.getByRole('alert').filter({ hasText: 'Your session has ended.' })
      await visible(told)
      must(await page.evaluate(() => globalThis.untouched), 'the page was loaded anew')
      await look({ page, who }, 'ended')
      await told.getByRole('link', { name: 'Sign in again' }).click()
      // The provider may still know who it is, and ask nothing.
      const choice = page.locator(`button[name=sub][value=${subject}]`)
      const back = page.getByRole('button', { name: 'Sign out' })
      await visible(choice.or(back))
      if (await choice.isVisible()) await choice.click()
      await page.waitForURL('**/orders')
      await heading(page, 'Your orders')
      await visible(page.locator('a[data-order]').first())
      await visible(page.getByRole('link', { name: 'Cart, 1 item' }))
      await look({ page, who }, 'orders')
    },

    // An address is typed in beside what is in the cart, and then somebody else signs in, in the same browser: nothing of either
    // is left for them.
    async leavesNothing({ who, origin, subject }) {
      const { page, context } = await person(who)
      await page.goto(`${origin}/checkout`)
      await page.getByLabel('Street').fill('99 Nobody’s Business Way')
      await context.clearCookies()
      await page.goto(`${origin}/bff/login?returnUrl=/`)
      await page.locator(`button[name=sub][value=${subject}]`).click()
      await visible(page.getByRole('button', { name: 'Sign out' }))
      await visible(page.getByRole('link', { name: 'Cart, 0 items' }))
      const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }))
      must(!kept.includes('Nobody’s Business'), `kept: ${kept}`)
    },

    // The connection of live updates is closed for good before there is any answer: that says nothing of the order.
    async losesLive({ who, url }) {
      const { context } = await person(who)
      // Of its own: every WebSocket of this page is closed for good.
      const page = await context.newPage()
      let refusals = 0
      let back
      const cameBack = new Promise((resolve) => (back = resolve))
      await page.routeWebSocket(/\/graphql$/, (socket) => {
        socket.close({ code: 4400, reason: 'Bad Request' })
        refusals += 1
        if (refusals === 2) back()
      })
      let answer
      const wait = new Promise((resolve) => (answer = resolve))
      await page.route('**/graphql', async (route) => {
        if (route.request().postData()?.includes('order(id')) await wait
        await route.continue()
      })
      await page.goto(url)
      // It tries again, so it has dealt with the first end.
      await cameBack
      must((await page.getByRole('heading', { name: 'Not here' }).count()) === 0, 'it says that there is no such order')
      answer()
      await visible(page.locator('[data-order-state]'))
      await visible(page.locator('[data-live="interrupted"]'))
      await look({ page, who }, 'interrupted')
      await page.close()
    },

    // Something that no view can show: it says so, and the rest of the page goes on.
    async breaks({ who, url }) {
      const { context } = await person(who)
      // Of its own: no WebSocket of this page says anything, and nothing comes that could be shown.
      const page = await context.newPage()
      await page.routeWebSocket(/\/graphql$/, () => {})
      await page.route('**/graphql', async (route) => {
        const response = await route.fetch()
        const text = await response.text()
        await route.fulfill({ response, body: text.replaceAll(/"amount":"[^"]*"/g, '"amount":"much"') })
      })
      await page.goto(url)
      await heading(page, 'Something is broken')
      await look({ page, who }, 'broken')
      await page.unrouteAll({ behavior: 'wait' })
      await page.getByRole('button', { name: 'Sign out' }).waitFor()
      await page.getByRole('link', { name: 'Restaurants' }).click()
      await heading(page, /./)
      must((await page.getByRole('heading', { name: 'Something is broken' }).count()) === 0, 'the next view is broken, too')
      await page.close()
    },

    async shows({ who, url, name }) {
      const { page } = await person(who)
      await page.goto(url)
      await page.waitForLoadState('networkidle')
      await look({ page, who }, name)
    },
  }
  return steps
}
