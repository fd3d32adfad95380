// Verifies a delivery with the npm package `standardwebhooks`, which is installed in the folder that is the first argument.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const { Webhook } = createRequire(`${process.argv[2]}/`)('standardwebhooks')
const { secret, headers, body } = JSON.parse(readFileSync(0, 'utf8'))
console.log(new Webhook(secret).verify(body, headers).type)
