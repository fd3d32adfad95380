// What pages of other origins try on somebody who is signed in, and what they get. What must not have come of it is with the
// test: here nothing is judged.
import { createServer } from 'node:http'

// A page of somebody else's, on a port of its own: foreign as `localhost`, of the same site as `127.0.0.1`.
async function elsewhere() {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>elsewhere</title><p>Win a prize!')
  })
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address()
  server.unref()
  return { foreign: `http://localhost:${port}`, neighbour: `http://127.0.0.1:${port}` }
}

// Every request of a page, with what became of it and whether the session's cookie went along; also those that its scripts
// may not look at.
async function watch(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  const seen = new Map()
  const of = (id) => seen.get(id) ?? seen.set(id, {}).get(id)
  session.on('Network.requestWillBeSent', ({ requestId, request }) => Object.assign(of(requestId), { method: request.method, url: request.url }))
  session.on('Network.webSocketCreated', ({ requestId, url }) => Object.assign(of(requestId), { method: 'WebSocket', url }))
  session.on('Network.requestWillBeSentExtraInfo', ({ requestId, associatedCookies }) => {
    of(requestId).cookie = associatedCookies.some(({ cookie, blockedReasons }) => cookie.name === '__Host-ftgo' && blockedReasons.length === 0)
  })
  session.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => (of(requestId).status = statusCode))
  session.on('Network.webSocketHandshakeResponseReceived', ({ requestId, response }) => (of(requestId).status = response.status))
  return (origin) => [...seen.values()].filter(({ url }) => url && new URL(url).host === new URL(origin).host)
}

// Runs in the page. What a script can do without leaving it; of each attempt what it got to see.
async function scripts({ origin, placing, cancelling, following, only }) {
  const socketUrl = `${origin.replace('http', 'ws')}/graphql`
  const send = async (path, options) => {
    try {
      const response = await fetch(origin + path, { credentials: 'include', ...options })
      return response.type === 'opaque' ? 'opaque' : { status: response.status, text: await response.text() }
    } catch {
      return 'nothing'
    }
  }
  const json = { 'content-type': 'application/json' }
  const post = (path, body, more) => send(path, { method: 'POST', body, ...more })
  const form = new FormData()
  form.set('operations', placing)
  form.set('map', '{}')
  const queryOf = (text) => `/graphql?query=${encodeURIComponent(JSON.parse(text).query)}&variables=${encodeURIComponent(JSON.stringify(JSON.parse(text).variables))}`
  const attempts = {
    'text/plain, unseen': () => post('/graphql', placing, { mode: 'no-cors', headers: { 'content-type': 'text/plain' } }),
    'text/plain': () => post('/graphql', placing, { headers: { 'content-type': 'text/plain' } }),
    'urlencoded, unseen': () => post('/graphql', new URLSearchParams({ query: JSON.parse(placing).query }), { mode: 'no-cors' }),
    'multipart, unseen': () => post('/graphql', form, { mode: 'no-cors' }),
    'no content type': () => post('/graphql', new Blob([placing]), { mode: 'no-cors' }),
    beacon: async () => navigator.sendBeacon(`${origin}/graphql`, placing) && 'opaque',
    json: () => post('/graphql', placing, { headers: json }),
    'json with the header': () => post('/graphql', placing, { headers: { ...json, 'x-csrf': '1' } }),
    'json without cookies': () => post('/graphql', placing, { headers: { ...json, 'x-csrf': '1' }, credentials: 'omit' }),
    'a mutation by GET, unseen': () => send(queryOf(placing), { mode: 'no-cors' }),
    'a mutation by GET': () => send(queryOf(placing)),
    'a query by GET': () => send(`/graphql?query=${encodeURIComponent('{ me { id } }')}`),
    'who is signed in': () => send('/bff/user'),
    'who is signed in, unseen': () => send('/bff/user', { mode: 'no-cors' }),
    logout: () => post('/bff/logout', '', {}),
    'logout, unseen': () => post('/bff/logout', '', { mode: 'no-cors' }),
    'logout with the header': () => post('/bff/logout', '', { headers: { 'x-csrf': '1' } }),
    'logout by GET': () => send('/bff/logout', { mode: 'no-cors' }),
    'a command': () => post(cancelling, '', {}),
    'a command, unseen': () => post(cancelling, '', { mode: 'no-cors' }),
    'a command with the header': () => post(cancelling, '', { headers: { 'x-csrf': '1' } }),
    'a WebSocket': () =>
      new Promise((resolve) => {
        const socket = new WebSocket(socketUrl, 'graphql-transport-ws')
        socket.onopen = () => socket.send('{"type":"connection_init"}')
        socket.onmessage = ({ data }) => (data.includes('connection_ack') ? socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: '{ me { id } }' } })) : resolve({ text: data }))
        socket.onclose = () => resolve('nothing')
      }),
    'an event stream': () =>
      new Promise((resolve) => {
        const source = new EventSource(origin + queryOf(following), { withCredentials: true })
        const heard = ({ type, data }) => (source.close(), resolve(type === 'next' ? { text: data } : 'nothing'))
        source.addEventListener('next', heard)
        source.addEventListener('error', heard)
      }),
    'a script of it': () =>
      new Promise((resolve) => {
        const script = document.createElement('script')
        script.onload = () => resolve('opaque')
        script.onerror = () => resolve('nothing')
        script.src = `${origin}/bff/user`
        document.body.append(script)
      }),
  }
  const got = {}
  for (const name of only ?? Object.keys(attempts)) got[name] = await attempts[name]()
  return got
}

// Runs in the page: a form that goes away with the whole page, as a person's click sends it.
function sendForm({ url, encoding, fields }) {
  const form = document.createElement('form')
  Object.assign(form, { action: url, method: 'POST', enctype: encoding })
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement('textarea')
    Object.assign(field, { name, value })
    form.append(field)
  }
  document.body.append(form)
  form.submit()
}

export const attacks = (person) => ({
  elsewhere,

  // Scripts of a page at `from`.
  async scripts({ who, from, ...target }) {
    const { context } = await person(who)
    const page = await context.newPage()
    const sent = await watch(page)
    await page.goto(from)
    const got = await page.evaluate(scripts, target)
    await page.close()
    return { got, sent: sent(target.origin) }
  },

  // Forms of a page at `from`, which the browser goes away with; statuses of what it went to, and whether the cookie went along.
  async forms({ who, from, origin, placing, cancelling }) {
    const { context } = await person(who)
    const json = JSON.parse(placing)
    // "=" comes after the name: the body becomes {"query": …, "variables": …, "x": "="}.
    const name = `${JSON.stringify(json).slice(0, -1)},"x":"`
    const forms = [
      ['/graphql', 'text/plain', { [name]: '"}' }],
      ['/graphql', 'application/x-www-form-urlencoded', { query: json.query, variables: JSON.stringify(json.variables) }],
      ['/graphql', 'multipart/form-data', { operations: placing, map: '{}' }],
      ['/bff/logout', 'application/x-www-form-urlencoded', {}],
      [cancelling, 'application/x-www-form-urlencoded', {}],
      [cancelling, 'text/plain', { '{"x":"': '"}' }],
    ]
    const sent = []
    for (const [path, encoding, fields] of forms) {
      const page = await context.newPage()
      const all = await watch(page)
      await page.goto(from)
      const gone = page.waitForURL(`${origin}/**`)
      await page.evaluate(sendForm, { url: origin + path, encoding, fields })
      await gone
      sent.push({ encoding, ...all(origin).find(({ method }) => method === 'POST'), text: await page.locator('body').innerText() })
      await page.close()
    }
    return sent
  },

  // A page at `from` puts others into frames, and looks at what is in them; its own page is there for comparison.
  async frames({ who, from, urls }) {
    const { context } = await person(who)
    const page = await context.newPage()
    await page.goto(from)
    const shown = []
    for (const url of [`${from}/framed`, ...urls]) {
      const frame = await page.evaluateHandle((src) => {
        const frame = document.createElement('iframe')
        frame.src = src
        const loaded = new Promise((resolve) => (frame.onload = () => resolve(frame)))
        document.body.append(frame)
        return loaded
      }, url)
      const content = await frame.asElement().contentFrame()
      shown.push({ url, shown: content.url() })
    }
    await page.close()
    return shown
  },

  // A page at `from` opens another in a window, and looks into it.
  async windows({ who, from, urls }) {
    const { context } = await person(who)
    const page = await context.newPage()
    await page.goto(from)
    const seen = []
    for (const url of [`${from}/window`, ...urls]) {
      const opened = context.waitForEvent('page')
      const window = await page.evaluateHandle((url) => open(url), url)
      const other = await opened
      await other.waitForURL(url)
      await other.waitForLoadState()
      const read = await page.evaluate((window) => {
        try {
          return window.closed ? 'closed' : window.document.body.innerText
        } catch (error) {
          return error.name
        }
      }, window)
      seen.push({ url, there: (await other.locator('body').innerText()).slice(0, 200), read })
      await other.close()
    }
    await page.close()
    return seen
  },
})
