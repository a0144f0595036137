package group_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// oneActive is an assignor of the host: the member with the smallest id works, the others stand by.
type oneActive struct{}

func (oneActive) Name() string      { return "one-active" }
func (oneActive) Cooperative() bool { return false }

func (oneActive) UserData([]partition.TopicPartition, group.Generation) []byte { return nil }

func (oneActive) Assign(c group.Cluster, members []group.AssignorMember) map[string][]partition.TopicPartition {
	first := slices.MinFunc(members, func(a, b group.AssignorMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
	var all []partition.TopicPartition
	for _, t := range first.Topics {
		for p := range c.Partitions[t] {
			all = append(all, partition.TopicPartition{Topic: t, Partition: p})
		}
	}
	return map[string][]partition.TopicPartition{first.MemberID: all}
}

// A host divides partitions in its own way; the group refuses what breaks an Assignor's promises.
func ExampleAssignor() {
	ctx := context.Background()
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 2}); err != nil {
		panic(err)
	}
	billing, err := group.Open(store, "billing", group.Config{Assignors: []group.Assignor{oneActive{}}})
	if err != nil {
		panic(err)
	}
	defer billing.Close()
	coordinator, err := billing.Coordinator(ctx)
	if err != nil {
		panic(err)
	}

	// What consumer.Join does.
	joined, err := coordinator.Join(ctx, group.JoinRequest{
		Group: "billing", ClientID: "worker", Local: true, ProtocolType: group.ProtocolTypeConsumer,
		Protocols: billing.Protocols(group.Subscription{Topics: []string{"orders"}, Generation: group.NoGeneration}),
	})
	if err != nil {
		panic(err)
	}
	assignments, _, err := billing.Assign(ctx, joined)
	if err != nil {
		panic(err)
	}
	synced, err := coordinator.Sync(ctx, group.SyncRequest{Membership: joined.Membership, Assignments: assignments})
	if err != nil {
		panic(err)
	}
	mine, err := group.DecodeAssignment(synced.Assignment)
	if err != nil {
		panic(err)
	}
	fmt.Println(joined.Protocol, mine.Partitions)
	// Output: one-active [orders-0 orders-1]
}
