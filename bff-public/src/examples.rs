//! How what is sent and answered looks in `/openapi.json`: one order of the demo's, by the names of members. What they mean is
//! said at their types.

use gateway_core::openapi::Example;

const ORDER: &str = "01a203b0-d0a0-7090-84e3-3c97b3d178c7";
const WEBHOOK: &str = "01a203b2-7b10-7c3e-9d6f-0e6a3f5b8c21";
const MESSAGE: &str = "01a203b3-11f0-7a55-8f0e-5b2d9c7e4a10";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

const PRICE: &str = r#"{"amount":"12.34","currency":"USD"}"#;
const MINIMUM: &str = r#"{"amount":"10.00","currency":"USD"}"#;

pub(crate) const EXAMPLES: &[Example] = &[
    // Who and what
    ("id", ORDER),
    ("orderId", ORDER),
    ("orders.id", ORDER),
    ("restaurantId", "restaurant-1"),
    ("restaurants.id", "restaurant-1"),
    ("AvailableRestaurantV1.id", "restaurant-1"),
    ("RestaurantV1.id", "restaurant-1"),
    ("RestaurantV2.id", "restaurant-1"),
    ("restaurantName", "Lakeside Curry House"),
    ("AvailableRestaurantV1.name", "Lakeside Curry House"),
    ("RestaurantV1.name", "Lakeside Curry House"),
    ("RestaurantV2.name", "Lakeside Curry House"),
    ("cuisine", "Indian"),
    // Dishes and money
    ("menuItemId", "restaurant-1-item-1"),
    ("ItemV2.id", "restaurant-1-item-1"),
    ("name", "Chicken Vindaloo"),
    ("description", "Hot and sour, with potatoes"),
    ("quantity", "5"),
    ("amount", "61.70"),
    ("currency", "USD"),
    ("ItemV1.unitPrice", PRICE),
    ("LineItemV2.price", PRICE),
    ("ItemV2.price", PRICE),
    ("RestaurantV2.orderMinimum", MINIMUM),
    ("AvailableRestaurantV1.orderMinimum", MINIMUM),
    // States
    ("state", "APPROVED"),
    ("PlacedV2.state", "APPROVAL_PENDING"),
    ("Address.state", "CA"),
    ("AddressV1.state", "CA"),
    ("rejectionReason", "null"),
    // When
    ("createdAt", "2030-01-31T18:04:00.000Z"),
    ("updatedAt", "2030-01-31T18:06:00.000Z"),
    ("deliveryTime", "null"),
    ("openUntil", "2030-01-31T23:00:00.000Z"),
    ("at", "2030-01-31T18:00:00Z"),
    ("since", "2030-01-01T00:00:00Z"),
    // Where
    ("street1", "415 Lakeshore Avenue"),
    ("street2", "Apt 12"),
    ("city", "Oakland"),
    ("zip", "94610"),
    ("lat", "37.8"),
    ("lng", "-122.27"),
    ("distance", "1268.4"),
    ("radius", "5000"),
    // What is left
    ("plan", "standard"),
    ("DayV2.limit", "100000"),
    ("used", "1250"),
    ("remaining", "98750"),
    ("resetsAt", "2030-02-01T00:00:00Z"),
    ("requests", "50"),
    ("seconds", "1.0"),
    ("burst", "100"),
    // Webhooks
    ("webhooks.id", WEBHOOK),
    ("WebhookV2.id", WEBHOOK),
    ("AddedWebhookV2.id", WEBHOOK),
    ("WebhookV2.state", "ENABLED"),
    ("AddedWebhookV2.state", "ENABLED"),
    ("url", "https://partner.example/ftgo"),
    ("events", "OrderApproved"),
    ("disabledReason", "null"),
    ("secret", SECRET),
    ("formerSecretUntil", "2030-02-01T18:04:00Z"),
    ("deliveries.message", MESSAGE),
    ("messageId", MESSAGE),
    ("DeliveryV2.type", "OrderApproved"),
    ("DeliveryV2.state", "DELIVERED"),
    ("attempts", "1"),
    ("lastStatus", "204"),
    ("lastError", "null"),
    ("nextAttemptAt", "null"),
    ("endedAt", "2030-01-31T18:04:02Z"),
    // Lists
    ("keyword", "curry"),
    ("limit", "20"),
    ("status", "APPROVED"),
    ("/v2/webhooks/{id}/deliveries.state", "FAILED"),
    ("nextCursor", "null"),
    // Headers
    ("If-None-Match", "\"v3\""),
    ("If-Match", "\"v3\""),
];
