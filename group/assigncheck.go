package group

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/partition"
)

// ErrInvalidAssignment is an Assignor of the host that breaks what Assignor promises. Nothing was assigned.
var ErrInvalidAssignment = errors.New("invalid assignment: the assignor broke its promises")

// checkAssignment holds a foreign assignor to its promises: partitions that exist, to one member each, which subscribes
// to the topic; and where the group is cooperative, not to a new owner while another member still has it (Kafka's
// validateCooperativeAssignment).
func checkAssignment(a Assignor, cooperative bool, c Cluster, members []AssignorMember, got map[string][]partition.TopicPartition) error {
	switch a.(type) {
	case rangeAssignor, roundRobinAssignor, stickyAssignor, cooperativeStickyAssignor:
		return nil
	}
	subscribed, had := make(map[string]map[string]bool), make(map[partition.TopicPartition]string)
	for _, m := range members {
		topics := make(map[string]bool)
		for _, t := range m.Topics {
			topics[t] = true
		}
		subscribed[m.MemberID] = topics
		for _, tp := range m.Owned {
			if cooperative {
				had[tp] = m.MemberID
			}
		}
	}
	owner := make(map[partition.TopicPartition]string)
	for id, tps := range got {
		topics, ok := subscribed[id]
		if !ok {
			return fmt.Errorf("%w: %s: there is no member %q", ErrInvalidAssignment, a.Name(), id)
		}
		for _, tp := range tps {
			switch other, twice := owner[tp]; {
			case twice:
				return fmt.Errorf("%w: %s: %s belongs to %q and %q", ErrInvalidAssignment, a.Name(), tp, other, id)
			case tp.Partition < 0 || tp.Partition >= c.Partitions[tp.Topic]:
				return fmt.Errorf("%w: %s: %s does not exist", ErrInvalidAssignment, a.Name(), tp)
			case !topics[tp.Topic]:
				return fmt.Errorf("%w: %s: %s belongs to %q, which does not subscribe to it", ErrInvalidAssignment, a.Name(), tp, id)
			}
			if other, ok := had[tp]; ok && other != id {
				return fmt.Errorf("%w: %s: %s goes to %q while %q still has it", ErrInvalidAssignment, a.Name(), tp, id, other)
			}
			owner[tp] = id
		}
	}
	return nil
}
