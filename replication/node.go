package replication

import (
	"context"
	"fmt"
	"sync"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// Node is one node of a cluster: a store whose partitions are replicated. It is safe for concurrent use.
type Node struct {
	config      Config // with its defaults
	id          int32
	clusterID   string
	incarnation [16]byte // of this process
	directory   [16]byte // of the data directory
	clock       clock.Clock
	events      Events

	store    *partition.Store
	peers    *peer.Endpoint
	control  *controller
	replicas *replicaManager

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of this package

	mu     sync.Mutex // guards all below
	closed bool
}

// handler takes what comes from peers to who answers it.
type handler struct{ n *Node }

func (h handler) Call(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	switch {
	case kind <= lastControlKind:
		return h.n.control.serve(ctx, from, kind, body)
	case kind <= lastReplicaKind:
		return h.n.replicas.serve(ctx, from, kind, body)
	}
	return peer.Reply{}, fmt.Errorf("node %d does not know calls of kind %d", h.n.id, kind)
}

func (h handler) Message(from int32, kind uint8, body []byte) {
	if kind <= lastControlKind {
		h.n.control.message(from, kind, body)
	}
}
