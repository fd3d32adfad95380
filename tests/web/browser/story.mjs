// What people do in the storefront.
export const story = (person, picture) => ({})
