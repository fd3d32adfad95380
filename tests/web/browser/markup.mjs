// Texts that look like markup, and markup that has found a way into a page: what runs, and what the page's policy stopped.

// In every page from its beginning.
function notice() {
  globalThis.stopped = []
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => globalThis.stopped.push(`${effectiveDirective} ${blockedURI}`))
}

const state = (page) => page.evaluate(() => ({ ran: globalThis.ran ?? null, stopped: globalThis.stopped }))

export const markup = (person) => ({
  // From now on every page of `who` notices.
  async notices({ who }) {
    await (await person(who)).context.addInitScript(notice)
  },

  // Whether a page shows `text` as it is, and what it has run.
  async shownAsText({ who, url, text }) {
    const { page } = await person(who)
    if (url) await page.goto(url)
    await page.getByText(text).first().waitFor({ state: 'visible' })
    return state(page)
  },

  // The same in GraphiQL: a query is typed and executed.
  async graphiql({ who, origin, query, text }) {
    const { page } = await person(who)
    await page.goto(`${origin}/graphiql`)
    const editor = page.locator('section[aria-label="Query Editor"], .graphiql-query-editor').first()
    await editor.locator('.CodeMirror').first().click()
    await page.keyboard.press('Control+A')
    await page.keyboard.insertText(query)
    // GraphiQL takes a moment to see that it is another operation.
    await page.getByRole('tab', { name: '<untitled>' }).waitFor({ state: 'visible' })
    await page.keyboard.press('Control+Enter')
    await page.locator('.result-window, .graphiql-response').getByText(text).first().waitFor({ state: 'visible' })
    return state(page)
  },

  // A page as it would be, if markup had found its way into it: with its policy, and without.
  async planted({ who, url }) {
    const { context } = await person(who)
    const seen = {}
    for (const policy of ['kept', 'dropped']) {
      const page = await context.newPage()
      await page.route(url, async (route) => {
        const response = await route.fetch()
        const headers = response.headers()
        if (policy === 'dropped') delete headers['content-security-policy']
        const evil = '<script>globalThis.ran = "script"</script><img src="data:," onerror="globalThis.ran = \'handler\'"><a id="evil" href="javascript:void(globalThis.ran = \'link\')">evil</a>'
        await route.fulfill({ response, headers, body: (await response.text()).replace('<body>', `<body>${evil}`) })
      })
      await page.goto(url)
      await page.waitForLoadState('networkidle')
      // What a script of the page itself would do with a text that it takes for markup.
      const written = await page.evaluate(() => {
        try {
          document.body.appendChild(document.createElement('p')).innerHTML = '<img src="data:," onerror="globalThis.ran = \'written\'">'
          return 'written'
        } catch (error) {
          return error.name
        }
      })
      await page.evaluate(() => document.getElementById('evil')?.click())
      await page.waitForLoadState('networkidle')
      seen[policy] = { written, ...(await state(page)) }
      await page.close()
    }
    return seen
  },
})
