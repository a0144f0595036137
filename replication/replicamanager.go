package replication

import (
	"context"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// replicaManager gives the store's replicas their roles, and has the goroutines that fetch.
type replicaManager struct {
	node *Node
}

func newReplicaManager(n *Node) *replicaManager { return &replicaManager{n} }

func (m *replicaManager) start() {}
func (m *replicaManager) close() {}

// serve answers calls of kinds lastControlKind+1 to lastReplicaKind.
func (m *replicaManager) serve(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	return peer.Reply{}, ErrNodeNotAvailable
}

// applied is told, on the raft goroutine and in order, what a command changed; it must return soon.
func (m *replicaManager) applied(r control.Result) {}

// restored is told that the whole state is another.
func (m *replicaManager) restored() {}

// appended is told that the log of a partition that is led here has grown.
func (m *replicaManager) appended(tp partition.TopicPartition, end partition.Offset) {}

// lowWatermark waits until the log starts of all live replicas have reached at.
func (m *replicaManager) lowWatermark(ctx context.Context, tp partition.TopicPartition, at partition.Offset) error {
	return nil
}
