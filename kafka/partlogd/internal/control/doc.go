// Package control is the HTTP and JSON side of a cluster of package kafkatest: what a Go test does by calls, a test in any
// other language does by requests. docs/control.md of partlogd describes it. It trusts whoever reaches it, so its listener is
// to be on a loopback address; what a browser sends for a page of somebody else is refused.
package control
