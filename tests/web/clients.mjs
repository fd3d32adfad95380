// The reference clients of GraphQL's transports, against a gateway: graphql-http's audits, graphql-ws, graphql-sse; and bare
// WebSockets, for what a client of good manners never says. What has to come of it is with the test.
import { auditServer } from 'graphql-http'
import { createClient as eventClient } from 'graphql-sse'
import { createClient as socketClient } from 'graphql-ws'
import WebSocket from 'ws'
import { serve } from './steps.mjs'

const authorized = (token) => (token ? { authorization: `Bearer ${token}` } : {})

// A client over a WebSocket, with what it was told on the way.
function overSocket({ url, token, ...more }) {
  const heard = []
  const client = socketClient({
    url,
    retryAttempts: 0,
    webSocketImpl: class extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { headers: authorized(token) })
      }
    },
    on: {
      pong: (received, payload) => heard.push({ pong: payload ?? null, received }),
      closed: (event) => heard.push({ closed: event.code }),
    },
    ...more,
  })
  return { client, heard }
}

// All results of an operation; those of one that does not end by itself until `wanted` is in one of them.
async function results(client, operation, wanted) {
  const all = []
  for await (const result of client.iterate(operation)) {
    all.push(result)
    if (wanted && JSON.stringify(result).includes(wanted)) break
  }
  return all
}

serve({
  async audit({ url }) {
    const found = []
    for (const result of await auditServer({ url, fetchFn: fetch })) {
      const { id, name, status, reason } = result
      found.push({ id, name, status, reason: reason ?? null })
    }
    return found
  },

  async socket({ url, token, operation, wanted }) {
    const { client } = overSocket({ url, token })
    try {
      return { results: await results(client, operation, wanted) }
    } catch (error) {
      return { refused: error }
    } finally {
      await client.dispose()
    }
  },

  // The client's own pings, and what it makes of the answers; then its goodbye.
  async kept({ url, token }) {
    let answered
    const pong = new Promise((resolve) => (answered = resolve))
    const { client, heard } = overSocket({ url, token, lazy: false, keepAlive: 50 })
    client.on('pong', (received, payload) => received && answered(payload ?? null))
    await pong
    const closed = new Promise((resolve) => client.on('closed', (event) => resolve(event.code)))
    await client.dispose()
    return { heard, closed: await closed }
  },

  // Says the texts one after the other (an object is said as JSON), each when the answer to the former has come, except
  // after those in `unanswered`; hears until the other side closes, or until it has said `enough` messages.
  async bare({ url, token, headers, protocols = ['graphql-transport-ws'], says = [], unanswered = [], binary, enough, origin }) {
    const socket = new WebSocket(url, protocols, { headers: { ...authorized(token), ...headers }, origin })
    const heard = []
    const left = says.map((text) => (typeof text === 'string' ? text : JSON.stringify(text)))
    let said = 0
    const next = () => {
      while (left.length > 0) {
        socket.send(left.shift(), { binary: binary === said })
        if (!unanswered.includes(said++)) return
      }
    }
    return new Promise((resolve, reject) => {
      socket.on('open', next)
      socket.on('message', (data) => {
        heard.push(JSON.parse(data.toString()))
        if (heard.length === enough) socket.close(1000)
        else next()
      })
      socket.on('unexpected-response', (_request, response) => resolve({ status: response.statusCode, heard }))
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString(), heard, protocol: socket.protocol }))
      // What the library does not take for a WebSocket.
      socket.on('error', (error) => (socket.protocol ? reject(error) : resolve({ refused: error.message, heard })))
    })
  },

  async events({ url, token, operation, wanted }) {
    const client = eventClient({ url, singleConnection: false, retryAttempts: 0, headers: authorized(token) })
    try {
      return { results: await results(client, operation, wanted) }
    } catch (error) {
      return { refused: { message: error.message, status: error.response?.status ?? null } }
    } finally {
      client.dispose()
    }
  },
})
