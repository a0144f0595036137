package replication

import (
	"context"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/wire/peer"
)

// controller is this node's part in the quorum: its goroutine owns raft and applies what is committed to the machine and the store.
type controller struct {
	node *Node
}

// serve answers calls of kinds 1 to lastControlKind.
func (c *controller) serve(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	return peer.Reply{}, ErrNotController
}

// message takes one-way messages; it returns at once, and copies what it keeps.
func (c *controller) message(from int32, kind uint8, body []byte) {}

// propose has the controller, wherever it is, propose a command, and returns its result when this node has applied it.
func (c *controller) propose(ctx context.Context, command control.Command) (control.Result, error) {
	return control.Result{}, ErrNoQuorum
}

// read calls f with the state as far as this node has applied it. f returns soon, and keeps nothing but what queries return.
func (c *controller) read(f func(m *control.Machine)) {}
