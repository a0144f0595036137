package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/control"
)

// ErrInvalidUpdateVersion: the cluster cannot have the feature level that was asked for: a node does not know it, or the cluster is above it already.
var ErrInvalidUpdateVersion = errors.New("the cluster cannot have this feature level")

// FeatureLevels are the feature level that the cluster is at, and those that it could be at. What a newer program does otherwise than an older one, in
// a way that all nodes have to agree on, it does from a level on; so a cluster is upgraded node by node, at the level of the oldest, and then raised.
type FeatureLevels struct {
	Level int16 // the cluster's, which SetFeatureLevel raises
	// Min and Max are what all registered nodes know, this one's program among them; those that do not run now, too.
	Min, Max int16
	Epoch    uint64 // of what this node knows: an entry of the quorum's log, of which a higher one is newer
}

// FeatureLevels returns the levels as this node knows them. Of a node that has heard of no cluster yet, Level is 0.
func (n *Node) FeatureLevels() (f FeatureLevels) {
	f.Min, f.Max = control.MinLevel, control.MaxLevel
	n.control.read(func(m *control.Machine) {
		if m.Applied() == 0 {
			return
		}
		f.Level, f.Epoch = m.Feature(), m.Applied()
		for _, node := range m.Nodes() {
			f.Min, f.Max = max(f.Min, node.MinFeature), min(f.Max, node.MaxFeature)
		}
	})
	return f
}

// SetFeatureLevel raises the cluster's feature level, when all nodes run a program that knows it (KIP-584, kafka-features upgrade). There is no way back: a node
// of an older program cannot join afterwards. The level that the cluster has already is no error. It returns when this node has applied the change.
//
// Errors: ErrInvalidUpdateVersion, which names the node that does not know the level; ErrNoQuorum, ctx's (it may have been raised).
func (n *Node) SetFeatureLevel(ctx context.Context, level int16) error {
	if err := n.CheckFeatureLevel(ctx, level); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	result, err := n.propose(ctx, control.SetFeature{Level: level})
	if err != nil {
		return err
	}
	return codeError(result.Code, result.Detail)
}

// CheckFeatureLevel returns the error that SetFeatureLevel would return now for a level, and changes nothing.
func (n *Node) CheckFeatureLevel(ctx context.Context, level int16) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.barrier(ctx); err != nil {
		return err
	}
	var err error
	n.control.read(func(m *control.Machine) {
		switch now := m.Feature(); {
		case level == now:
			return
		case level < now:
			err = fmt.Errorf("%w: from feature level %d there is no way back to %d", ErrInvalidUpdateVersion, now, level)
			return
		case level > control.MaxLevel:
			err = fmt.Errorf("%w: node %d can live with feature levels %d to %d", ErrInvalidUpdateVersion, n.id, control.MinLevel, control.MaxLevel)
			return
		}
		for _, node := range m.Nodes() {
			if level > node.MaxFeature || level < node.MinFeature {
				err = fmt.Errorf("%w: node %d can live with feature levels %d to %d", ErrInvalidUpdateVersion, node.ID, node.MinFeature, node.MaxFeature)
				return
			}
		}
	})
	return err
}
