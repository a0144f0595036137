package group_test

import (
	"context"
	"fmt"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// A member of the new protocol (KIP-848) says what it has, and is told what it may have; a second one gets its share when
// the first one has let go of it.
func ExampleCoordinator_consumerGroupHeartbeat() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 4}); err != nil {
		panic(err)
	}
	coordinators, err := group.Start(store, group.CoordinatorConfig{})
	if err != nil {
		panic(err)
	}
	coordinator, err := coordinators.Find(ctx, "billing")
	if err != nil {
		panic(err)
	}

	epochs, owned := map[string]group.MemberEpoch{}, map[string][]group.TopicIDPartitions{"a": {}, "b": {}}
	heartbeat := func(id string) {
		r := group.ConsumerHeartbeatRequest{Group: "billing", MemberID: id, MemberEpoch: epochs[id], Owned: owned[id]}
		if epochs[id] == group.JoinGroupEpoch {
			r.Topics, r.RebalanceTimeout = []string{"orders"}, time.Minute
		}
		result, err := coordinator.ConsumerGroupHeartbeat(ctx, r)
		if err != nil {
			panic(err)
		}
		epochs[id] = result.MemberEpoch
		if result.Assignment != nil { // else nothing has changed
			owned[id] = result.Assignment
		}
		fmt.Print(id, " at epoch ", epochs[id], " has")
		for _, t := range owned[id] {
			fmt.Print(" ", t.Partitions)
		}
		fmt.Println()
	}
	heartbeat("a")
	heartbeat("b") // waits for what a has
	heartbeat("a") // is told what to keep
	heartbeat("a") // shows that it has let go of the rest
	heartbeat("b")
	// Output:
	// a at epoch 1 has [0 1 2 3]
	// b at epoch 2 has
	// a at epoch 1 has [0 1]
	// a at epoch 2 has [0 1]
	// b at epoch 2 has [2 3]
}
