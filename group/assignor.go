package group

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Assignor divides partitions between the members of a group (Kafka's ConsumerPartitionAssignor). Range, RoundRobin,
// Sticky and CooperativeSticky are Kafka's; a host may have its own. It runs in the group's leader, must be a function
// of its arguments alone, and is safe for concurrent use.
type Assignor interface {
	// Name is the protocol name, the same in all members ("range").
	Name() string
	// Cooperative reports whether members may keep their partitions while they join a generation (KIP-429), because
	// Assign never gives one to a new owner while another member still has it. A group rebalances this way if all of
	// its configured assignors do.
	Cooperative() bool
	// UserData is what a member tells this assignor about itself besides its subscription: owned is what it was last
	// assigned, as of generation g (NoGeneration if it never was). Nil if there is nothing to tell.
	UserData(owned []partition.TopicPartition, g Generation) []byte
	// Assign returns the partitions of each member, by member id. A member that gets nothing may be left out.
	// Topics that are not in the cluster do not exist and are ignored; only members that subscribe to a topic may
	// get its partitions. It keeps and changes nothing of its arguments.
	Assign(c Cluster, members []AssignorMember) map[string][]partition.TopicPartition
}

// Cluster is what an Assignor knows of the topics.
type Cluster struct {
	// Partitions is the number of partitions of each topic that somebody subscribes to; 0 if it does not exist.
	Partitions map[string]int32
	// Racks returns the racks of a partition's replicas, "" for a replica whose rack is unknown. Nil if racks are
	// not known, as in an embedded store.
	Racks func(partition.TopicPartition) []string
}

// AssignorMember is one member as an Assignor sees it.
type AssignorMember struct {
	MemberID   string
	InstanceID string // empty for dynamic members
	Subscription
}

// sortMembers orders members as Kafka's assignors do: static ones first by instance id, then dynamic ones by member id.
func sortMembers(members []AssignorMember) []AssignorMember {
	return slices.SortedFunc(slices.Values(members), func(a, b AssignorMember) int {
		switch {
		case a.InstanceID != "" && b.InstanceID != "":
			return cmp.Compare(a.InstanceID, b.InstanceID)
		case a.InstanceID != "":
			return -1
		case b.InstanceID != "":
			return 1
		}
		return cmp.Compare(a.MemberID, b.MemberID)
	})
}

func compareTopicPartitions(a, b partition.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}
