package replication

import (
	"context"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/wire/peer"
)

// replicaManager gives the store's replicas their roles, and has the goroutines that fetch.
type replicaManager struct {
	node *Node
}

// serve answers calls of kinds lastControlKind+1 to lastReplicaKind.
func (m *replicaManager) serve(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	return peer.Reply{}, ErrNodeNotAvailable
}

// applied is told, on the raft goroutine and in order, what a command changed; it must return soon.
func (m *replicaManager) applied(r control.Result) {}
