// Package faultnet puts faults between nodes that dial each other: delays, cuts in one direction or both. It stands between a
// node and any dial function, real sockets or memnet:
//
//	n := faultnet.New(clock.System)
//	config.Dial = n.Dialer("node-1", inner)
//	n.Name("127.0.0.1:9192", "node-2")
//	n.Cut("node-1", "node-2")      // what node-1 sends does not arrive at node-2; n.CutBoth for both directions
//	n.Heal()
//
// As TCP does, a cut delays: what was written arrives, in order, when the cut is healed, if the connection lives until then. What is
// written meanwhile is taken until the buffers are full. A dial over a cut in either direction waits until its context ends.
package faultnet
