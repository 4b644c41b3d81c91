BEGIN TRANSACTION;
CREATE TABLE audit (
	audit_pk INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	namespace VARCHAR(64), 
	actor VARCHAR(200) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (audit_pk)
);
INSERT INTO "audit" VALUES(1,'2026-01-01 00:00:00.000000','default','local','register_job','nightly','{}');
INSERT INTO "audit" VALUES(2,'2026-01-01 00:00:00.000000','default','local','register_job','untouched','{}');
CREATE TABLE "jobs" (
	job_pk INTEGER NOT NULL, 
	job_id VARCHAR(128) NOT NULL, 
	settings JSON NOT NULL, 
	registered_settings JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	next_trial_number BIGINT NOT NULL, 
	next_sequence BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	version BIGINT DEFAULT '0' NOT NULL, 
	namespace VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (job_pk), 
	CONSTRAINT uq_jobs_namespace_job_id UNIQUE (namespace, job_id)
);
INSERT INTO "jobs" VALUES(1,'nightly','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}',1,11,17,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',1012572292269019094,'default');
INSERT INTO "jobs" VALUES(2,'untouched','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}',1,1,1,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',2087300692917697577,'default');
CREATE TABLE observations (
	observation_pk INTEGER NOT NULL, 
	trial_id VARCHAR(32) NOT NULL, 
	epoch DOUBLE NOT NULL, 
	closing BOOLEAN NOT NULL, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	outcome VARCHAR(16), 
	received_at DATETIME NOT NULL, 
	answered_state VARCHAR(16) NOT NULL, 
	answered_reason TEXT NOT NULL, 
	answered_power_limit_watts INTEGER, energy_known_from_seconds DOUBLE, 
	CONSTRAINT pk_observations PRIMARY KEY (observation_pk), 
	CONSTRAINT fk_observations_trial_id_trials FOREIGN KEY(trial_id) REFERENCES trials (trial_id) ON DELETE CASCADE, 
	CONSTRAINT uq_observations_trial_id_epoch_closing UNIQUE (trial_id, epoch, closing)
);
INSERT INTO "observations" VALUES(1,'9d26fc5f0742464683dcf0cd41833b6c',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:01:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(2,'9d26fc5f0742464683dcf0cd41833b6c',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:02:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(3,'9d26fc5f0742464683dcf0cd41833b6c',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:03:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(4,'4ea9c732c7a44d3e92c619b020dcd52f',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:04:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(5,'4ea9c732c7a44d3e92c619b020dcd52f',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:05:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(6,'4ea9c732c7a44d3e92c619b020dcd52f',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:06:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(7,'20568ab1346e45e5a38c6542d917d720',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:07:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(8,'20568ab1346e45e5a38c6542d917d720',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:08:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(9,'20568ab1346e45e5a38c6542d917d720',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:09:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(10,'d567e9470b234e47af812cb8293b1bad',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:10:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(11,'d567e9470b234e47af812cb8293b1bad',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:11:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(12,'d567e9470b234e47af812cb8293b1bad',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:12:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(13,'1fdf4beac4f141d383b2a0d744a06e71',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:13:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(14,'1fdf4beac4f141d383b2a0d744a06e71',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:14:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(15,'1fdf4beac4f141d383b2a0d744a06e71',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:15:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(16,'41822b62c9634b3a986f3219af095326',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:16:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(17,'41822b62c9634b3a986f3219af095326',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:17:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(18,'41822b62c9634b3a986f3219af095326',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:18:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(19,'94b3bb9267e74d27809328ab2d7eddd9',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:19:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(20,'94b3bb9267e74d27809328ab2d7eddd9',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:20:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(21,'94b3bb9267e74d27809328ab2d7eddd9',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:21:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
INSERT INTO "observations" VALUES(22,'20e70c25d990412d8db02812237fa908',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:22:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(23,'20e70c25d990412d8db02812237fa908',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:23:00.000000','running','not at the target yet',NULL,NULL);
INSERT INTO "observations" VALUES(24,'20e70c25d990412d8db02812237fa908',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:24:00.000000','converged','accuracy 1 reached the target 0.9',NULL,NULL);
CREATE TABLE "placements" (
	placement_pk INTEGER NOT NULL, 
	job_pk INTEGER NOT NULL, 
	gpu_model VARCHAR(128) NOT NULL, 
	gpu_count INTEGER NOT NULL, 
	min_power_limit_watts INTEGER, 
	max_power_limit_watts INTEGER, 
	smallest_oom_batch_size INTEGER, 
	power_scope VARCHAR(16) DEFAULT '' NOT NULL, 
	power_profile VARCHAR(128) DEFAULT '' NOT NULL, 
	nominal_power_watts INTEGER, 
	CONSTRAINT pk_placements PRIMARY KEY (placement_pk), 
	CONSTRAINT fk_placements_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_placements_gpu UNIQUE (job_pk, gpu_model, gpu_count, power_scope, power_profile)
);
INSERT INTO "placements" VALUES(1,1,'V100',1,100,250,NULL,'','',NULL);
INSERT INTO "placements" VALUES(2,1,'A40',2,100,300,NULL,'','',NULL);
CREATE TABLE policy_states (
	placement_pk INTEGER NOT NULL, 
	part VARCHAR(32) NOT NULL, 
	state JSON NOT NULL, 
	CONSTRAINT pk_policy_states PRIMARY KEY (placement_pk, part), 
	CONSTRAINT fk_policy_states_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "policy_states" VALUES(1,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 2, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 36.26732891814408, "total": 6.022236205774735}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost_joules": 0.0, "runs": 0, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8]}');
INSERT INTO "policy_states" VALUES(1,'power_limit','{"32": {"done": false, "measured": {"150": [133.75, 1.0, 95.0, true], "200": [130.0, 1.0, 90.0, true], "250": [137.5, 1.0, 100.0, true]}, "planned": [250, 225, 200, 175, 150, 125, 100]}}');
INSERT INTO "policy_states" VALUES(1,'cost_bound','{"lowest": [412.5, 412.5, 412.5, 412.5, 412.5], "recent": [412.5, 412.5, 412.5, 412.5, 412.5], "stops": 0}');
INSERT INTO "policy_states" VALUES(1,'energy','{"128": [300.0, 3.0, 1, 0], "16": [300.0, 3.0, 1, 0], "32": [300.0, 3.0, 1, 0], "64": [600.0, 6.0, 2, 0]}');
INSERT INTO "policy_states" VALUES(2,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 2, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 44.85026771441779, "total": 6.697034247666484}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost_joules": 0.0, "runs": 0, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8]}');
INSERT INTO "policy_states" VALUES(2,'power_limit','{"32": {"done": false, "measured": {"150": [264.0, 1.0, 152.0, true], "200": [258.0, 1.0, 144.0, true], "250": [270.0, 1.0, 160.0, true]}, "planned": [300, 275, 250, 225, 200, 175, 150, 125, 100]}}');
INSERT INTO "policy_states" VALUES(2,'cost_bound','{"lowest": [810.0, 810.0, 810.0, 810.0, 810.0], "recent": [810.0, 810.0, 810.0, 810.0, 810.0], "stops": 0}');
INSERT INTO "policy_states" VALUES(2,'energy','{"128": [480.0, 3.0, 1, 0], "16": [480.0, 3.0, 1, 0], "32": [480.0, 3.0, 1, 0], "64": [960.0, 6.0, 2, 0]}');
CREATE TABLE power_measurements (
	power_measurement_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	batch_size INTEGER NOT NULL, 
	power_limit_watts INTEGER NOT NULL, 
	time_seconds DOUBLE, 
	energy_joules DOUBLE, 
	steps DOUBLE, 
	steps_per_epoch DOUBLE, 
	cost DOUBLE, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, idempotency_key VARCHAR(128), 
	CONSTRAINT pk_power_measurements PRIMARY KEY (power_measurement_pk), 
	CONSTRAINT fk_power_measurements_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "power_measurements" VALUES(1,1,32,250,1.0,100.0,10.0,10.0,NULL,1,'2026-01-01 00:00:00.000000',NULL);
INSERT INTO "power_measurements" VALUES(2,1,32,200,1.0,90.0,10.0,10.0,NULL,2,'2026-01-01 00:00:00.000000',NULL);
INSERT INTO "power_measurements" VALUES(3,1,32,150,1.0,95.0,10.0,10.0,NULL,3,'2026-01-01 00:00:00.000000',NULL);
INSERT INTO "power_measurements" VALUES(4,2,32,250,1.0,160.0,10.0,10.0,NULL,9,'2026-01-01 00:12:00.000000',NULL);
INSERT INTO "power_measurements" VALUES(5,2,32,200,1.0,144.0,10.0,10.0,NULL,10,'2026-01-01 00:12:00.000000',NULL);
INSERT INTO "power_measurements" VALUES(6,2,32,150,1.0,152.0,10.0,10.0,NULL,11,'2026-01-01 00:12:00.000000',NULL);
CREATE TABLE rheostat_schema_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT rheostat_schema_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "rheostat_schema_version" VALUES('0005');
CREATE TABLE runs (
	run_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	idempotency_key VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	cost DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	converged BOOLEAN, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (run_id), 
	CONSTRAINT fk_runs_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_runs_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_runs_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key)
);
INSERT INTO "runs" VALUES('38c7bb7cc9a3468fb9d3be2ba2126f84',1,1,NULL,64,NULL,300.0,3.0,1,4,'2026-01-01 00:00:00.000000');
INSERT INTO "runs" VALUES('78b2244d3470464ea38e44f3d1e2a3b3',1,2,NULL,64,NULL,480.0,3.0,1,12,'2026-01-01 00:12:00.000000');
CREATE TABLE tokens (
	token_id VARCHAR(12) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	scopes VARCHAR(64) NOT NULL, 
	namespace VARCHAR(64), 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (token_id)
);
CREATE TABLE trials (
	trial_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	idempotency_key VARCHAR(128), 
	node VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	learning_rate DOUBLE, 
	power_limit_watts INTEGER, 
	profile_power_limits_watts JSON NOT NULL, 
	reason TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	state_reason TEXT NOT NULL, 
	epochs DOUBLE, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	sequence BIGINT, 
	created_at DATETIME NOT NULL, 
	lease_expires_at DATETIME NOT NULL, 
	ended_at DATETIME, curve JSON, gpu JSON, metered_joules DOUBLE, metered_from_seconds DOUBLE, metered_to_seconds DOUBLE, energy_estimate TEXT, 
	CONSTRAINT pk_trials PRIMARY KEY (trial_id), 
	CONSTRAINT fk_trials_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_trials_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_trials_job_pk_number UNIQUE (job_pk, number), 
	CONSTRAINT uq_trials_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key), 
	CONSTRAINT ck_trials_state CHECK (state IN ('running', 'converged', 'failed', 'stopped', 'oom', 'cancelled', 'abandoned'))
);
INSERT INTO "trials" VALUES('9d26fc5f0742464683dcf0cd41833b6c',1,1,1,'run-V100-0','node-1',128,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 441.2 J (95 % interval 99.1 to 1282 J); expected to save 77.82 J in each later run, for about 0 J more in this one; best known batch size: 64, expected cost 429.6 J (95 % interval 245.6 to 699.8 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,5,'2026-01-01 00:00:00.000000','2026-01-01 00:13:00.000000','2026-01-01 00:03:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('4ea9c732c7a44d3e92c619b020dcd52f',1,1,2,'run-V100-1','node-1',32,NULL,NULL,'[225, 175, 125, 100]','exploration: expected cost 460.9 J (95 % interval 259.8 to 758.8 J); expected to save 22.37 J in each later run, for about 48.76 J more in this one; best known batch size: 64, expected cost 408.8 J (95 % interval 328.2 to 503.1 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,6,'2026-01-01 00:03:00.000000','2026-01-01 00:16:00.000000','2026-01-01 00:06:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('20568ab1346e45e5a38c6542d917d720',1,1,3,'run-V100-2','node-1',16,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 513.2 J (95 % interval 295.3 to 831.9 J); expected to save 12.86 J in each later run, for about 106.1 J more in this one; best known batch size: 64, expected cost 396.7 J (95 % interval 333.3 to 468.5 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,7,'2026-01-01 00:06:00.000000','2026-01-01 00:19:00.000000','2026-01-01 00:09:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('d567e9470b234e47af812cb8293b1bad',1,1,4,'run-V100-3','node-1',64,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 401.8 J (95 % interval 340.4 to 471.2 J); expected to save 2.461 J in each later run, for about 11.95 J more in this one; best known batch size: 32, expected cost 391 J (95 % interval 335.7 to 452.8 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,8,'2026-01-01 00:09:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:12:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('9e8e38023eaf41768418f4a5eca74035',1,1,5,NULL,NULL,32,NULL,NULL,'[225, 175, 125, 100]','best known batch size: expected cost 388.1 J (95 % interval 334.9 to 447.3 J); exploring another would cost more than it is expected to save','abandoned','its lease expired',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:12:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:24:00.000000',NULL,'{"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('1fdf4beac4f141d383b2a0d744a06e71',1,2,6,'run-A40-0','node-1',64,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 826.1 J (95 % interval 557 to 1181 J); expected to save 77.78 J in each later run, for about 56.03 J more in this one; best known batch size: 32, expected cost 768.8 J (95 % interval 661.4 to 888.5 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,13,'2026-01-01 00:12:00.000000','2026-01-01 00:25:00.000000','2026-01-01 00:15:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('41822b62c9634b3a986f3219af095326',1,2,7,'run-A40-1','node-1',128,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 826.9 J (95 % interval 640.3 to 1051 J); expected to save 15.36 J in each later run, for about 55.76 J more in this one; best known batch size: 32, expected cost 771 J (95 % interval 674.1 to 877.9 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,14,'2026-01-01 00:15:00.000000','2026-01-01 00:28:00.000000','2026-01-01 00:18:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('94b3bb9267e74d27809328ab2d7eddd9',1,2,8,'run-A40-2','node-1',16,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','exploration: expected cost 844.7 J (95 % interval 662.9 to 1061 J); expected to save 8.839 J in each later run, for about 72.57 J more in this one; best known batch size: 32, expected cost 771.5 J (95 % interval 680.3 to 871.5 J)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,15,'2026-01-01 00:18:00.000000','2026-01-01 00:31:00.000000','2026-01-01 00:21:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('20e70c25d990412d8db02812237fa908',1,2,9,'run-A40-3','node-1',32,NULL,NULL,'[300, 275, 225, 175, 125, 100]','best known batch size: expected cost 771.1 J (95 % interval 685.4 to 864.4 J); exploring another would cost more than it is expected to save','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,16,'2026-01-01 00:21:00.000000','2026-01-01 00:34:00.000000','2026-01-01 00:24:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}','{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
INSERT INTO "trials" VALUES('ed9c8915c869459d8571180c95d4c3ef',1,2,10,NULL,NULL,32,NULL,NULL,'[300, 275, 225, 175, 125, 100]','best known batch size: expected cost 773.1 J (95 % interval 708.3 to 842.2 J); exploring another would cost more than it is expected to save','running','not at the target yet',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:24:00.000000','2026-01-01 00:34:00.000000',NULL,NULL,'{"model": "A40", "count": 2, "min_power_limit_watts": 100, "max_power_limit_watts": 300, "enforced_limit_watts": null, "power_scope": null, "power_profile": null}',NULL,NULL,NULL,NULL);
CREATE INDEX ix_trials_placement_pk_sequence ON trials (placement_pk, sequence);
CREATE INDEX ix_trials_running ON trials (job_pk) WHERE state = 'running';
CREATE INDEX ix_runs_placement_pk_sequence ON runs (placement_pk, sequence);
CREATE INDEX ix_power_measurements_placement_pk_sequence ON power_measurements (placement_pk, sequence);
CREATE INDEX ix_power_measurements_placement_pk_batch_size ON power_measurements (placement_pk, batch_size);
CREATE INDEX ix_audit_namespace_audit_pk ON audit (namespace, audit_pk);
CREATE INDEX ix_power_measurements_placement_pk_idempotency_key ON power_measurements (placement_pk, idempotency_key);
COMMIT;
