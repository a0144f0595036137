// Package memnet is a network in memory: listeners and connections that buffer as sockets do, keep deadlines, and wait in
// ways that testing/synctest understands. Addresses are names of any form with a port; nothing leaves the process.
//
//	n := memnet.New()
//	l, err := n.Listen("broker-1:9092")
//	c, err := n.DialContext(ctx, "tcp", "broker-1:9092")
package memnet
