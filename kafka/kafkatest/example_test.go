package kafkatest_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// An acknowledgement is lost: the client sends the record again, and the broker knows that it has it.
func Example() {
	c, err := kafkatest.Start(kafkatest.Topic("orders", 1)) // in a test: kafkatest.New(t, ...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()

	lost := c.Inject(kafkatest.Rule{API: "Produce", Topic: "orders", Times: 1, Apply: true, Close: true})

	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("orders"), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println("error:", client.ProduceSync(ctx, kgo.StringRecord("paid")).FirstErr())

	records, err := c.Records("orders", 0)
	fmt.Println("requests:", lost.Seen(), "lost answers:", lost.Hits(), "records:", len(records), err)
	// Output:
	// error: <nil>
	// requests: 2 lost answers: 1 records: 1 <nil>
}

func ExampleCluster_Crash() {
	c, err := kafkatest.Start(kafkatest.Topic("orders", 1), kafkatest.FaultyDisk())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	if _, err := c.Produce(ctx, "orders", 0, kafkatest.Record{Value: []byte("paid")}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Crash(kafkatest.PowerLoss))
	records, err := c.Records("orders", 0)
	fmt.Printf("%s %v\n", records[0].Value, err)
	// Output:
	// <nil>
	// paid <nil>
}

func ExampleSnapshot() {
	c, err := kafkatest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	if _, err := c.LoadJSON(ctx, "orders", strings.NewReader(`{"key":"customer-42","value":{"cents":1999}}`)); err != nil {
		fmt.Println(err)
		return
	}
	snap, err := c.Snapshot(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer snap.Close()
	for range 2 { // one for each test: snap.Fork(t)
		f, err := snap.Start()
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = f.Produce(ctx, "orders", 0, kafkatest.Record{Value: []byte("mine")})
		records, _ := f.Records("orders", 0)
		fmt.Println(len(records), err, f.Close())
	}
	// Output:
	// 2 <nil> <nil>
	// 2 <nil> <nil>
}

func ExampleRuleSet_Add() {
	c, err := kafkatest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	rule, err := c.Rules().Add(kafkatest.Rule{API: "OffsetCommit", Group: "billing", Nth: 3, Error: kerr.CoordinatorNotAvailable.Code})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := rule.Rule().MarshalJSON()
	fmt.Println(string(text), err)
	// Output: {"api":"OffsetCommit","group":"billing","nth":3,"error":"COORDINATOR_NOT_AVAILABLE"} <nil>
}
