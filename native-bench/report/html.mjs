export const htmlReport = (found) => JSON.stringify(found);
