package kafka

func init() {
	for key, a := range map[int16]api{
		8:  {name: "OffsetCommit", Range: Range{2, 9}, handle: handleOffsetCommit},
		9:  {name: "OffsetFetch", Range: Range{1, 9}, handle: handleOffsetFetch},
		10: {name: "FindCoordinator", Range: Range{0, 6}, handle: handleFindCoordinator},
		11: {name: "JoinGroup", Range: Range{0, 9}, handle: handleJoinGroup},
		12: {name: "Heartbeat", Range: Range{0, 4}, handle: handleHeartbeat},
		13: {name: "LeaveGroup", Range: Range{0, 5}, handle: handleLeaveGroup},
		14: {name: "SyncGroup", Range: Range{0, 5}, handle: handleSyncGroup},
		15: {name: "DescribeGroups", Range: Range{0, 6}, handle: handleDescribeGroups},
		16: {name: "ListGroups", Range: Range{0, 5}, handle: handleListGroups},
		22: {name: "InitProducerId", Range: Range{0, 5}, handle: handleInitProducerID},
		24: {name: "AddPartitionsToTxn", Range: Range{0, 5}, handle: handleAddPartitionsToTxn},
		25: {name: "AddOffsetsToTxn", Range: Range{0, 4}, handle: handleAddOffsetsToTxn},
		26: {name: "EndTxn", Range: Range{0, 5}, handle: handleEndTxn},
		27: {name: "WriteTxnMarkers", Range: Range{1, 1}, handle: handleWriteTxnMarkers},
		28: {name: "TxnOffsetCommit", Range: Range{0, 5}, handle: handleTxnOffsetCommit},
		42: {name: "DeleteGroups", Range: Range{0, 2}, handle: handleDeleteGroups},
		47: {name: "OffsetDelete", Range: Range{0, 0}, handle: handleOffsetDelete},
		61: {name: "DescribeProducers", Range: Range{0, 0}, handle: handleDescribeProducers},
		65: {name: "DescribeTransactions", Range: Range{0, 0}, handle: handleDescribeTransactions},
		66: {name: "ListTransactions", Range: Range{0, 2}, handle: handleListTransactions},
		68: {name: "ConsumerGroupHeartbeat", Range: Range{0, 1}, handle: handleConsumerGroupHeartbeat},
		69: {name: "ConsumerGroupDescribe", Range: Range{0, 1}, handle: handleConsumerGroupDescribe},
	} {
		apis[key] = &a
	}
}
