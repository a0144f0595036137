package replication

import (
	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// A Node is whatever a store is to those who write, read and coordinate.
var (
	_ producer.Backend      = (*Node)(nil)
	_ txn.Backend           = (*Node)(nil)
	_ consumer.Source       = (*Node)(nil)
	_ group.Backend         = (*Node)(nil)
	_ partitiontest.Backend = (*Node)(nil)
	_ partition.Cluster     = seam{}
	_ group.Coordinators    = (*groups)(nil)
	_ group.Coordinator     = (*coordinator)(nil)
)
