package kafka

import (
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// handleListConfigResources names the resources that have a configuration (KIP-1000, KIP-1142); version 0 the subscriptions
// to metrics of clients alone.
func handleListConfigResources(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if !s.authorizeCluster(opDescribeConfigs) {
		resp.ErrorCode = codeClusterAuthorizationFailed
		return resp, nil
	}
	supported := []configKind{kindTopic, kindBroker, kindLogger, kindClientMetrics, kindGroup}
	wanted := supported
	if c.version == 0 {
		wanted = []configKind{kindClientMetrics}
	} else if len(req.ResourceTypes) > 0 {
		wanted = nil
		for _, t := range req.ResourceTypes {
			if !slices.Contains(supported, configKind(t)) {
				resp.ErrorCode = codeUnsupportedVersion
				return resp, nil
			}
			wanted = append(wanted, configKind(t))
		}
	}
	add := func(kind configKind, name string) {
		r := kmsg.NewListConfigResourcesResponseConfigResource()
		r.Name, r.Type = name, int8(kind)
		resp.ConfigResources = append(resp.ConfigResources, r)
	}
	configured := func(kind configKind) {
		t, _ := s.server.admin.dynamic.get(s.server.store)
		for _, name := range slices.Sorted(maps.Keys(t[kind])) {
			add(kind, name)
		}
	}
	for _, kind := range wanted {
		switch kind {
		case kindGroup, kindClientMetrics:
			configured(kind)
		case kindBroker, kindLogger:
			for _, b := range s.server.alive() {
				add(kind, strconv.Itoa(int(b.id)))
			}
		case kindTopic:
			for _, name := range slices.Sorted(slices.Values(s.server.store.TopicNames())) {
				add(kind, name)
			}
		}
	}
	return resp, nil
}
