package provider

import (
	"time"

	"bothways/internal/route"
)

// azure is ExpressRoute with public or Microsoft peering. Numbers are of the documents that Rules.Source names; the
// published list of regions is not complete, so communities can be written as numbers too.
func azure() Profile {
	p := Profile{
		Name: "azure", Circuit: true, ASN: 12076, Peerings: []string{"microsoft", "public"},
		Preference: 150, Static: 50, Links: 2, Hold: 180 * time.Second, GracefulRestart: true,
		Rules: Rules{
			MaxAnnounce: 200, NoPrivate: true, PoolNotElsewhere: true, StripsPrivateASN: true,
			NoDocumentationASN: true, IgnoresCommunities: true, PasswordMax: 25, PasswordAlphanumeric: true,
			HoldMin: 10 * time.Second,
			Source:  "Azure documentation, ExpressRoute routing requirements and NAT",
		},
		names: map[string][]route.Community{},
	}
	for name, value := range azureServices() {
		p.names["service/"+name] = []route.Community{12076<<16 | value}
	}
	for name, nn := range azureRegions() {
		// 12076:510NN is the region, the others its storage, SQL, Cosmos DB and backup: a region's name means all of
		// them, since their prefixes need not carry the region's own value.
		all := make([]route.Community, 0, 5)
		for i, kind := range []string{"region", "storage", "sql", "cosmos-db", "backup"} {
			c := 12076<<16 | route.Community(51000+1000*i) + nn
			all = append(all, c)
			if i > 0 {
				p.names[kind+"/"+name] = []route.Community{c}
			}
		}
		p.names["region/"+name] = all
	}
	for name, value := range azureNational() {
		p.names["region/"+name] = []route.Community{12076<<16 | value}
	}
	return p
}

func azureServices() map[string]route.Community {
	return map[string]route.Community{
		"exchange-online":        5010,
		"sharepoint-online":      5020,
		"teams":                  5030,
		"crm-online":             5040,
		"azure-global-services":  5050,
		"entra-id":               5060,
		"azure-resource-manager": 5070,
		"other-office-365":       5100,
		"defender-for-identity":  5220,
		"pstn":                   5250,

		"gov-exchange-online":   5110,
		"gov-sharepoint-online": 5120,
		"gov-teams":             5130,
		"gov-entra-id":          5160,
		"gov-other-office-365":  5200,
	}
}

func azureRegions() map[string]route.Community {
	return map[string]route.Community{
		"eastus": 4, "eastus2": 5, "westus": 6, "westus2": 26, "westus3": 44, "westcentralus": 27,
		"northcentralus": 7, "southcentralus": 8, "centralus": 9, "canadacentral": 20, "canadaeast": 21,
		"brazilsouth": 14, "northeurope": 3, "westeurope": 2, "uksouth": 24, "ukwest": 25, "francecentral": 30,
		"francesouth": 31, "switzerlandnorth": 38, "switzerlandwest": 39, "germanynorth": 40,
		"germanywestcentral": 41, "norwayeast": 42, "norwaywest": 43, "eastasia": 10, "southeastasia": 11,
		"japaneast": 12, "japanwest": 13, "australiaeast": 15, "australiasoutheast": 16, "australiacentral": 32,
		"australiacentral2": 33, "southindia": 19, "westindia": 18, "centralindia": 17, "koreasouth": 28,
		"koreacentral": 29, "newzealandnorth": 59, "southafricanorth": 34, "southafricawest": 35,
		"uaenorth": 36, "uaecentral": 37,
	}
}

func azureNational() map[string]route.Community {
	return map[string]route.Community{
		"usgovarizona": 51106, "usgoviowa": 51109, "usgovvirginia": 51105, "usgovtexas": 51108,
		"usdodcentral": 51209, "usdodeast": 51205,
		"chinanorth": 51301, "chinaeast": 51302, "chinaeast2": 51303, "chinanorth2": 51304, "chinanorth3": 51305,
	}
}
