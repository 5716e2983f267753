// Opens Swagger UI on the document that the script's element names.
"use strict";

const source = document.currentScript.dataset.document;

SwaggerUIBundle({
  url: new URL(source, document.location.href).href,
  dom_id: "#explorer",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  // Credentials live as long as the page.
  persistAuthorization: false,
  // No badge: it would send the document to a validator elsewhere.
  validatorUrl: null,
});
