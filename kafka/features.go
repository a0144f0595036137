package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// feature is a feature of Apache Kafka 4.1 (KIP-584): the levels that are served, and the level of a new cluster.
type feature struct {
	name           string
	min, max, from int16
}

const metadataVersion = "metadata.version"

// partlogVersion is the feature level of a cluster of nodes (replication.FeatureLevels), which Apache Kafka does not have. Brokers over a store have not either.
const partlogVersion = "partlog.version"

var features = []feature{
	{"eligible.leader.replicas.version", 0, 1, 1},
	{"group.version", 0, 1, 1},
	{"kraft.version", 0, 1, 0},
	{metadataVersion, 7, 27, 27},
	{"share.version", 0, 1, 0},
	{"transaction.version", 0, 2, 2},
}

// featurePrefix begins the settings that keep finalized levels that somebody has changed, behind which is the name.
const featurePrefix = "kafka/feature/"

// featureList are the features that the server's brokers have. On a node, the level of the nodes is one of them: supported is what all registered nodes know.
func (s *Server) featureList() []feature {
	if s.node == nil {
		return features
	}
	f := s.node.node.FeatureLevels()
	i := slices.IndexFunc(features, func(f feature) bool { return f.name > partlogVersion })
	return slices.Insert(slices.Clone(features), i, feature{name: partlogVersion, min: f.Min, max: f.Max, from: f.Level})
}

// featureLevels are the finalized levels, and how new they are.
func (s *Server) featureLevels() (levels map[string]int16, epoch int64) {
	levels, epoch = *s.admin.features.Load(), s.admin.epoch.Load()
	if s.node == nil {
		return levels, epoch
	}
	f := s.node.node.FeatureLevels()
	levels = maps.Clone(levels)
	levels[partlogVersion] = f.Level
	return levels, int64(f.Epoch) // the same on all nodes, which each count their own changes otherwise
}

// startFeatures reads the finalized levels.
func (s *Server) startFeatures() error {
	levels, err := s.keptFeatures()
	if err != nil {
		return err
	}
	s.admin.features.Store(&levels)
	s.admin.epoch.Store(1)
	return nil
}

// followFeatures reads them again on a node, whichever node's server was asked for a change. The caller holds alter.
func (s *Server) followFeatures() error {
	levels, err := s.keptFeatures()
	if err == nil && !maps.Equal(levels, *s.admin.features.Load()) {
		s.admin.features.Store(&levels)
		s.admin.epoch.Add(1)
	}
	return err
}

// keptFeatures are the levels that somebody has set, and those of a new cluster.
func (s *Server) keptFeatures() (map[string]int16, error) {
	levels := map[string]int16{}
	for _, f := range features {
		levels[f.name] = f.from
		if level, ok := s.config.Features[f.name]; ok {
			levels[f.name] = min(max(level, f.min), f.max)
		}
	}
	for _, kept := range s.store.Settings(featurePrefix) {
		name := strings.TrimPrefix(kept.Key, featurePrefix)
		n, err := strconv.ParseInt(string(kept.Value), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("setting %q: %w", kept.Key, err)
		}
		levels[name] = int16(n)
	}
	return levels, nil
}

// featureLevel returns the finalized level of a feature.
func (s *Server) featureLevel(name string) int16 { return (*s.admin.features.Load())[name] }

// features tells the levels in an answer to ApiVersions. Before version 4 a level of 0 could not be told (KIP-1022).
func (s *Server) features(resp *kmsg.ApiVersionsResponse, version int16) {
	if version < 3 {
		return
	}
	list := s.featureList()
	levels, epoch := s.featureLevels()
	resp.FinalizedFeaturesEpoch = epoch
	resp.SupportedFeatures = make([]kmsg.ApiVersionsResponseSupportedFeature, 0, len(list))
	resp.FinalizedFeatures = make([]kmsg.ApiVersionsResponseFinalizedFeature, 0, len(list))
	for _, f := range list {
		if version >= 4 || f.min > 0 {
			r := kmsg.NewApiVersionsResponseSupportedFeature()
			r.Name, r.MinVersion, r.MaxVersion = f.name, f.min, f.max
			resp.SupportedFeatures = append(resp.SupportedFeatures, r)
		}
		if level := levels[f.name]; level > 0 {
			r := kmsg.NewApiVersionsResponseFinalizedFeature()
			r.Name, r.MinVersionLevel, r.MaxVersionLevel = f.name, level, level
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, r)
		}
	}
}

// The ways to change a level.
const (
	upgradeOnly     = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

// handleUpdateFeatures changes finalized levels, all or none (KIP-584, KIP-778, KIP-1022). On a node partlog.version is raised first, as that alone may be refused by
// the cluster; if the catalogue cannot be written then, it stays raised, and the request is to be sent again.
func handleUpdateFeatures(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.UpdateFeaturesRequest)
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	if !s.authorizeCluster(opAlter) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	admin := &s.server.admin
	if err := admin.alter.take(c.ctx); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.outcome(err)
		return resp, nil
	}
	defer admin.alter.give()
	levels, _ := s.server.featureLevels()
	levels = maps.Clone(levels)
	for _, u := range req.FeatureUpdates {
		way := u.UpgradeType
		if c.version == 0 {
			if way = upgradeOnly; u.AllowDowngrade {
				way = safeDowngrade
			}
		}
		err := s.checkFeature(levels[u.Feature], u.Feature, u.MaxVersionLevel, way)
		if err == nil && u.Feature == partlogVersion {
			err = s.server.node.checkFeature(c.ctx, u.MaxVersionLevel)
		}
		if code := errorCode(err, c.key, c.version); err != nil && code != codeInvalidUpdateVersion {
			resp.ErrorCode, resp.ErrorMessage = c.outcome(err) // nobody could say
			return resp, nil
		} else if err != nil {
			resp.ErrorCode = codeInvalidUpdateVersion
			resp.ErrorMessage = kmsg.StringPtr("The update failed for all features since the following feature had an error: " + err.Error())
			return resp, nil
		}
		levels[u.Feature] = u.MaxVersionLevel
	}
	if err := s.putFeatures(c, levels, req.ValidateOnly && c.version >= 1); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.outcome(err)
		return resp, nil
	}
	if c.version < 2 {
		for _, u := range req.FeatureUpdates {
			r := kmsg.NewUpdateFeaturesResponseResult()
			r.Feature, r.ErrorMessage = u.Feature, kmsg.StringPtr("NONE")
			resp.Results = append(resp.Results, r)
		}
	}
	return resp, nil
}

// putFeatures keeps changed levels and brings them into force.
func (s *session) putFeatures(c *call, levels map[string]int16, validateOnly bool) error {
	old := *s.server.admin.features.Load()
	if validateOnly {
		return nil
	}
	if n := s.server.node; n != nil {
		if level := levels[partlogVersion]; level != n.node.FeatureLevels().Level {
			if err := n.node.SetFeatureLevel(c.ctx, level); err != nil {
				return err
			}
		}
		delete(levels, partlogVersion)
	}
	if maps.Equal(levels, old) {
		return nil
	}
	var changes []partition.Setting
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if levels[name] != old[name] {
			changes = append(changes, partition.Setting{Key: featurePrefix + name, Value: []byte(strconv.Itoa(int(levels[name])))})
		}
	}
	if err := s.server.store.PutSettings(c.ctx, changes...); err != nil {
		return err
	}
	s.server.admin.features.Store(&levels)
	s.server.admin.epoch.Add(1)
	return nil
}

// checkFeature applies Kafka's rules to one change of a level.
func (s *session) checkFeature(now int16, name string, level int16, way int8) error {
	id := s.server.controller()
	bad := func(format string, args ...any) error {
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid update version %d for feature %s. "+format, append([]any{level, name}, args...)...))
	}
	features := s.server.featureList()
	i := slices.IndexFunc(features, func(f feature) bool { return f.name == name })
	switch {
	case way < upgradeOnly || way > unsafeDowngrade:
		return bad("The controller does not support the given upgrade type.")
	case level < 0:
		return bad("A feature version cannot be less than 0.")
	case i < 0:
		return bad("Local controller %d does not support this feature.", id)
	case name == partlogVersion && level >= 0 && level < now && way != upgradeOnly:
		return bad("From level %d there is no way back: the nodes have metadata of it.", now)
	case name == partlogVersion && level >= now: // the nodes say what they know
	case name != partlogVersion && (level != 0 && level < features[i].min || level > features[i].max || level == 0 && features[i].min > 0):
		return bad("Local controller %d only supports versions %d-%d", id, features[i].min, features[i].max)
	case level < now && way == upgradeOnly:
		return bad("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case name == metadataVersion && level < now && way == safeDowngrade:
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid metadata.version %d. Refusing to perform the requested downgrade because it might delete metadata information.", level))
	case name == metadataVersion && level < now:
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid metadata.version %d. Unsafe metadata downgrade is not supported in this version.", level))
	}
	return nil
}
