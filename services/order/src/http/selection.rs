//! Line items in a body, and their faults as places in that body.
//! Not here: what makes a selection valid (`domain`).

use ftgo_chassis::FieldError;
use serde::{Deserialize, Serialize};

use crate::domain::{Selection, SelectionFault};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestedLine {
    menu_item_id: String,
    quantity: i64,
}

/// The lines of a body as a selection, or all that is wrong with them.
pub(super) fn selection(lines: &[RequestedLine]) -> Result<Selection, Vec<FieldError>> {
    let lines = lines
        .iter()
        .map(|line| (line.menu_item_id.clone(), line.quantity))
        .collect();
    Selection::new(lines).map_err(|faults| faults.into_iter().map(field_error).collect())
}

fn field_error(fault: SelectionFault) -> FieldError {
    let pointer = match fault {
        SelectionFault::Empty | SelectionFault::TooMany => "/lineItems".to_owned(),
        SelectionFault::Quantity { line } => format!("/lineItems/{line}/quantity"),
        SelectionFault::Repeated { line, .. } => format!("/lineItems/{line}/menuItemId"),
    };
    FieldError::new(pointer, fault.to_string())
}
