-- The screen "order details" in nginx + Lua: what a team writes that composes in its proxy.
local cjson = require "cjson.safe"
local capture, capture_multi, ngx = ngx.location.capture, ngx.location.capture_multi, ngx
local screen = {}

local function three(id)
  return capture_multi({ { "/part/order/" .. id }, { "/part/ticket/" .. id }, { "/part/delivery/" .. id } })
end

local function section(part, pick)
  local body = part.status == 200 and cjson.decode(part.body)
  if not body then return { status = "unavailable", reason = "upstream_error" } end
  return { status = "ok", data = pick(body) }
end

local function pick_order(order)
  return {
    id = order.id, state = order.state, rejectionReason = order.rejectionReason, restaurantId = order.restaurantId,
    restaurantName = order.restaurantName, lineItems = order.lineItems, total = order.total,
    deliveryAddress = order.deliveryAddress, deliveryTime = order.deliveryTime, createdAt = order.createdAt,
    updatedAt = order.updatedAt,
  }
end

local function pick_ticket(ticket)
  return {
    id = ticket.id, state = ticket.state, readyBy = ticket.readyBy, acceptedAt = ticket.acceptedAt,
    preparingAt = ticket.preparingAt, readyForPickupAt = ticket.readyForPickupAt, pickedUpAt = ticket.pickedUpAt,
  }
end

local function pick_delivery(delivery)
  local courier = delivery.courier
  if courier and courier ~= cjson.null then courier = { name = courier.name, location = courier.location } end
  return {
    id = delivery.id, state = delivery.state, courier = courier, scheduledPickupTime = delivery.scheduledPickupTime,
    scheduledDeliveryTime = delivery.scheduledDeliveryTime, pickedUpAt = delivery.pickedUpAt, deliveredAt = delivery.deliveredAt,
  }
end

local function pick_restaurant(restaurant)
  return { id = restaurant.id, name = restaurant.name, address = restaurant.address, location = restaurant.location }
end

local function answer(text)
  ngx.header.content_type = "application/json"
  ngx.header.content_length = #text
  ngx.print(text)
end

function screen.decoded()
  local order, ticket, delivery = three(ngx.var.uri:sub(#"/orders/" + 1))
  if order.status ~= 200 then return ngx.exit(order.status) end
  local first = section(order, pick_order)
  local restaurant = capture("/part/restaurant/" .. first.data.restaurantId)
  answer(cjson.encode({
    order = first, ticket = section(ticket, pick_ticket), delivery = section(delivery, pick_delivery),
    restaurant = section(restaurant, pick_restaurant),
  }))
end

-- The restaurant is asked as soon as the order is there, whatever the others do: more work, less waiting.
function screen.threads()
  local id = ngx.var.uri:sub(#"/threads/" + 1)
  local spawn, wait = ngx.thread.spawn, ngx.thread.wait
  local first = spawn(function()
    local order = capture("/part/order/" .. id)
    if order.status ~= 200 then return order end
    local shown = section(order, pick_order)
    return order, shown, capture("/part/restaurant/" .. shown.data.restaurantId)
  end)
  local second = spawn(function() return capture("/part/ticket/" .. id) end)
  local third = spawn(function() return capture("/part/delivery/" .. id) end)
  local _, order, shown, restaurant = wait(first)
  local _, ticket = wait(second)
  local _, delivery = wait(third)
  if order.status ~= 200 then return ngx.exit(order.status) end
  answer(cjson.encode({
    order = shown, ticket = section(ticket, pick_ticket), delivery = section(delivery, pick_delivery),
    restaurant = section(restaurant, pick_restaurant),
  }))
end

function screen.spliced()
  local order, ticket, delivery = three(ngx.var.uri:sub(#"/spliced/" + 1))
  if order.status ~= 200 then return ngx.exit(order.status) end
  local restaurant = capture("/part/restaurant/" .. order.body:match('"restaurantId":"([^"]+)"'))
  local function pasted(part)
    if part.status ~= 200 then return '{"status":"unavailable","reason":"upstream_error"}' end
    return '{"status":"ok","data":' .. part.body .. "}"
  end
  answer('{"order":' .. pasted(order) .. ',"ticket":' .. pasted(ticket) .. ',"delivery":' .. pasted(delivery)
    .. ',"restaurant":' .. pasted(restaurant) .. "}")
end

return screen
