"""What each figure of ours means, for the HELP lines. ZooKeeper's own names are explained by ZooKeeper."""

HELP = {
    "dsdeploy_collected_timestamp_seconds": "When this host was last measured.",
    "dsdeploy_kernel_setting_ok": "Whether a setting is what the site file says.",
    "dsdeploy_certificate_expiry_timestamp_seconds": "When a certificate ends.",
    "dsdeploy_run_unfinished_since_timestamp_seconds": "When a run that has not ended was begun.",
    "dsdeploy_backup_begun_timestamp_seconds": "When the first backup of this host was begun.",
    "dsdeploy_engine_active": "Whether the engine of a colour runs; loading counts as not.",
    "dsdeploy_engine_restarts_total": "How often systemd has restarted the engine of a colour.",
    "dsdeploy_weights_verified_timestamp_seconds": "When weights were last read whole and found good.",
    "dsdeploy_router_address_held": "Whether this host has the shared address.",
    "dsdeploy_zookeeper_serving": "Whether the member leads or follows.",
    "dsdeploy_zookeeper_leader": "Whether the member says that it leads.",
}
