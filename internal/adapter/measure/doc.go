// Package measure asks Prometheus for the metrics that judge a step.
//
// One call is one measurement: fill the query, ask within the timeout, read a
// bounded answer, judge it. Whatever goes wrong is an outcome with words, not
// an error to handle; no header value and no answer of a foreign server
// appears in the words uncut. Servers that are not on the list of allowed
// addresses are not asked, and redirects, which would leave that list, are not
// followed.
package measure
