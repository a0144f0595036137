package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDescribeLogDirs tells the sizes of partitions (KIP-113, KIP-827). A store has one directory, in which every broker has
// the partitions of which it is a replica.
func handleDescribeLogDirs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	if !s.authorizeCluster(opDescribe) {
		resp.ErrorCode = codeClusterAuthorizationFailed
		return resp, nil
	}
	store := s.server.store
	volume := store.Volume()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = store.Dir(), volume.Total, volume.Free
	wanted := req.Topics
	if wanted == nil {
		all, err := store.ListTopics(c.ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			w := kmsg.NewDescribeLogDirsRequestTopic()
			w.Topic = t.Name
			for i := range t.Partitions {
				w.Partitions = append(w.Partitions, i)
			}
			wanted = append(wanted, w)
		}
	}
	for _, w := range wanted {
		t, err := store.FindTopic(w.Topic, partition.TopicID{})
		if err != nil || w.Topic == "" {
			continue
		}
		out := kmsg.NewDescribeLogDirsResponseDirTopic()
		out.Topic = w.Topic
		seen := map[int32]bool{}
		for _, i := range w.Partitions {
			at, ok := s.server.layout.at(&t, i)
			if !ok || seen[i] || !slices.Contains(at.replicas, s.broker.id) {
				continue
			}
			seen[i] = true
			size, err := store.Size(c.ctx, partition.TopicPartition{Topic: w.Topic, Partition: i})
			if err != nil {
				dir.ErrorCode = errorCode(err, c.key, c.version)
				continue
			}
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size = i, size
			out.Partitions = append(out.Partitions, p)
		}
		if len(out.Partitions) > 0 {
			dir.Topics = append(dir.Topics, out)
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp, nil
}
